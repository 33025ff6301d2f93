"""The stand-in corpus: what is said how (`rules`, `lexicon`, `voices`, `expressions`), how well it can be told
(`ceilings`, `set_ceilings`), the speech (`speech`) and the faces (`faces`, `films`), written in MELD's layout
(`clips`, `writer`)."""
