"""IEMOCAP (Busso et al., LRE 2008): the full release, its sentences of four classes or six, in folds."""

from __future__ import annotations

from pathlib import Path

from trainables.errors import CorpusError
from trainables.importers.base import Prepared, Progress
from trainables.importers.iemocap_labels import FOUR
from trainables.importers.iemocap_layout import Layout, find_layout
from trainables.spec import IemocapSpec


class IemocapImporter:
    labels = FOUR
    expected = {"all": 5531}
    stand_in = False

    def source_digest(self, spec: IemocapSpec, root: Path | None) -> str:
        return _layout(spec, root).digest()

    def prepare(
        self, spec: IemocapSpec, root: Path | None, out: Path, workers: int, progress: Progress
    ) -> Prepared:
        from trainables.importers.iemocap_tree import import_tree

        return import_tree(_layout(spec, root), spec, out, workers, progress, root=root)


def _layout(spec: IemocapSpec, root: Path | None) -> Layout:
    if root is None:
        raise CorpusError("IEMOCAP needs a folder: say where it lies with --root, or set ORCH_CORPORA__IEMOCAP")
    return find_layout(root, media="audio" in spec.modalities)
