"""MELD (Poria et al., ACL 2019): the official release, its usual rearrangements, or its three CSV files alone.

Sound and pictures are of the same clips.
"""

from __future__ import annotations

from pathlib import Path

from trainables.errors import CorpusError
from trainables.importers.base import Prepared, Progress
from trainables.importers.meld_layout import Layout, find_layout
from trainables.spec import EMOTIONS, MeldSpec


class MeldImporter:
    labels = EMOTIONS
    expected = {"train": 9989, "dev": 1109, "test": 2610}
    stand_in = False

    def source_digest(self, spec: MeldSpec, root: Path | None) -> str:
        return _layout(spec, root).digest()

    def prepare(self, spec: MeldSpec, root: Path | None, out: Path, workers: int, progress: Progress) -> Prepared:
        from trainables.importers.meld_tree import import_tree

        return import_tree(_layout(spec, root), spec, out, workers, progress)


def _layout(spec: MeldSpec, root: Path | None) -> Layout:
    if root is None:
        raise CorpusError("MELD needs a folder: say where it lies with --root, or set ORCH_CORPORA__MELD")
    return find_layout(root, media=spec.modalities != ("text",))
