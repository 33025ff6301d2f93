"""Words, syllables and phones in time: read from files, found by a CTC model, or shared out."""
