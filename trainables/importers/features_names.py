"""What the name of an array says: which split, and which modality's vectors or what else of the rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from trainables.spec.base import Modality

SPLITS = {
    "train": "train", "dev": "dev", "val": "dev", "valid": "dev", "validation": "dev", "test": "test",
}  # fmt: skip
MODALITIES: dict[str, Modality] = {
    "audio": "audio", "acoustic": "audio", "covarep": "audio", "opensmile": "audio",
    "visual": "visual", "vision": "visual", "video": "visual", "facet": "visual", "openface": "visual",
    "text": "text", "words": "text", "language": "text", "glove": "text",
}  # fmt: skip
TRUTH, IDS, SPEAKER, LENGTHS = "labels", "ids", "speaker", "lengths"
_OTHERS = {
    "y": TRUTH, "label": TRUTH, "labels": TRUTH, "target": TRUTH, "targets": TRUTH,
    "id": IDS, "ids": IDS, "uid": IDS, "uids": IDS,
    "speaker": SPEAKER, "speakers": SPEAKER,
    "length": LENGTHS, "lengths": LENGTHS,
}  # fmt: skip
_NOTHING = frozenset({"data", "emb", "embedding", "embeddings", "features", "x"})
"""Words that say nothing of which array it is."""


@dataclass(frozen=True)
class Name:
    """`what` is a modality, or TRUTH, IDS, SPEAKER or LENGTHS; with a modality, LENGTHS are of that one."""

    split: str
    what: str
    modality: Modality | None = None


def split_of(name: str) -> str | None:
    """The one split that a name speaks of; None for none or several."""
    found = {SPLITS[word] for word in _words(name) if word in SPLITS}
    return found.pop() if len(found) == 1 else None


def parse(name: str, own: Mapping[Modality, str]) -> Name | None:
    """None where it is no name of ours. `own` names a modality's arrays, which then have no other name."""
    split = split_of(name)
    key = _key(name)
    if split is None:
        return None
    if key in _OTHERS:
        return Name(split, _OTHERS[key])
    stem, _, last = key.rpartition("_")
    lengths = _OTHERS.get(last) == LENGTHS
    modality = _modality(stem if lengths else key, own)
    return Name(split, LENGTHS if lengths else modality, modality) if modality else None


def _modality(key: str, own: Mapping[Modality, str]) -> Modality | None:
    for modality, name in own.items():
        if key == _key(name):
            return modality
    found = MODALITIES.get(key)
    return None if found in own else found


def _key(name: str) -> str:
    """The words that are neither of a split nor nothing."""
    return "_".join(word for word in _words(name) if word not in SPLITS and word not in _NOTHING)


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[_/.\s-]+", name.lower()) if word]
