"""The names of the corpora, which the command line and the settings share; it loads nothing."""

from __future__ import annotations

from typing import Literal, get_args

Recorded = Literal["meld", "iemocap", "emodb", "ravdess", "crema_d", "mosei"]
CorpusName = Literal[Recorded, "features", "manifest"]
"""Of those that lie somewhere; the stand-in is made by rule and has no root."""
AnyCorpusName = Literal[CorpusName, "standin"]
AlignedName = Literal[Recorded, "manifest", "standin"]
"""Of those with words that files can align: what the bare vectors of features say has no time."""
CORPORA: tuple[CorpusName, ...] = get_args(CorpusName)
ALIGNED: tuple[AlignedName, ...] = get_args(AlignedName)
