"""One file per corpus: raw files in, rows of `trainables.corpus.schema()` out. Importing this stays cheap."""
