"""Sequences of vectors that others worked out (COVAREP, Facet, OpenFace, GloVe), as `.npz` or HDF5.

The root is one file, a folder with one, or a folder with several whose names say which split they are of, as
`train.npz` or `audio_train.h5`. An array's name is its own and, of several files, its file's, parted by `_` or `/`,
in any order and case: `audio_train`, `text_train_emb`, `train/vision`, `audio_train.h5` with `data`.

| array | | |
|---|---|---|
| a modality | [N, T, D], or [N, D] for one step | numbers: NaN and infinities are read as 0 |
| `y`, `labels`, `target` | [N] | names; numbers from 0 of the spec's `labels`; with `thresholds` any numbers |
| | [N, C] | one-hot; with `several` the 0 and 1 of each label |
| a modality and `lengths` | [N] | optional: steps of each row; `lengths` alone is of every modality |
| `ids` | [N] | optional: names of the rows; else they are numbered from 0 |
| `speaker` | [N] | optional |

Modalities are named `audio`, `acoustic`, `covarep`, `opensmile`; `visual`, `vision`, `video`, `facet`, `openface`;
`text`, `words`, `language`, `glove`; or as the spec's `names` say. Splits are `train`, `test`, and `dev`, `val` or
`valid`. Axes of 1 behind a label's are nothing.

Rows are padded with zeros. Where no lengths are given, the steps of nothing but zeros before the first and behind
the last one with something in it are padding (word-aligned sets pad at either end), and those between are steps. A
row of zeros alone misses that modality. A column that is constant in train is 0 everywhere: nothing can be learned
of it, and what it is elsewhere would be divided by its deviation of 0.

Not read: pickles, and arrays of objects, which are pickles; a `.csd` of the CMU SDK (that is `mosei`'s); one array
with all modalities end to end, as MFN's `X_train.h5`: cut it in its columns first. An array whose name says
something else is left alone, and `orch prepare` says so.
"""

from __future__ import annotations

from pathlib import Path

from trainables.importers.base import Prepared, Progress
from trainables.importers.features_files import digest, find_sources
from trainables.spec import FeaturesCorpusSpec


class FeaturesImporter:
    labels: tuple[str, ...] = ()
    """The spec's or the files' own: they are in `Prepared.info`."""
    expected: dict[str, int] = {}
    stand_in = False

    def source_digest(self, spec: FeaturesCorpusSpec, root: Path | None) -> str:
        return digest(find_sources(root))

    def prepare(
        self, spec: FeaturesCorpusSpec, root: Path | None, out: Path, workers: int, progress: Progress
    ) -> Prepared:
        """Raises UserError naming the extra where a file is HDF5 and h5py is not installed."""
        from trainables.importers.features_arrays import opened
        from trainables.importers.features_rows import read_rows
        from trainables.importers.rows import write_rows

        found = find_sources(root)
        with opened(found) as arrays:
            read = read_rows(arrays, spec, found.place)
        written = write_rows(read.rows, spec, out, workers, progress, labels=read.labels, remarks=read.remarks)
        facts = {
            "labels": list(read.labels),
            "widths": dict(read.widths),
            "speaker_disjoint": list(read.speaker_disjoint),
        }
        return Prepared(written.rows, written.problems, {**written.info, **facts})
