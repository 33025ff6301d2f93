"""The stand-in corpus: what is said how (`rules`, `lexicon`), how well it can be told (`ceilings`), and the
speech itself (`speech`), written in MELD's layout (`writer`)."""
