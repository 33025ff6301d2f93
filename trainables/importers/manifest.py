"""Anybody's corpus: a manifest, CSV (UTF-8, commas, header first) or Parquet, with a row an utterance.

| column | |
|---|---|
| `label` | one of the spec's `labels`; where it names none, of those that occur |
| `audio` | the file's path from the manifest's folder, and within it: WAV, FLAC, MP3, MP4, whatever FFmpeg reads |
| `video` | with modality `visual`, optional: where the pictures are; else, and where empty, in the `audio` file |
| `text` | what is said, in any language; kept as it is |
| `split` | `train`, `dev` or `test`, with `folds: 0` |
| `fold` | with `folds: k`, a number from 0 to k - 1: the fold in which the row is tested |
| `uid` | optional: the row's name, there once only; else `row-` and its number |
| `speaker` | optional |
| `dialogue` | optional: its rows are its turns in order, and lie in one split; else a row stands alone |
| `start`, `end` | optional: the part of the file (of both files) that is meant, in seconds |
| `box.left`, `box.top`, `box.right`, `box.bottom` | with `visual.crop: corpus`: what is to be seen of the video |
| `votes.<label>` | with `votes: true`: how many raters chose the label, or which share of them |

With `several: true` a row has any number of labels, parted by vertical bars as `joy|fear`, or none.
A box is in shares of the width and the height, from 0 to 1, of the picture as it is looked at (turned as its file
says). What is kept is the smallest square round it, without a margin, moved inside where it juts out; a box that is
longer than the picture's shorter side is cut to the largest square about its middle. With all four cells empty it
is the middle of the picture.
Without audio (or text) in `modalities` that column may be absent. Rows are numbered as in a spreadsheet: the header
is row 1. A file that is absent or cannot be decoded is its row's status, a fault of the manifest itself an error.
Speakers of test that speak in train or dev are remarked upon and not refused: the split is the user's.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from trainables.importers.base import Prepared, Progress
from trainables.importers.manifest_table import Manifest, find_manifest, read_manifest
from trainables.spec import ManifestSpec


class ManifestImporter:
    labels: tuple[str, ...] = ()
    """The spec's or the manifest's own: they are in `Prepared.info`."""
    expected: dict[str, int] = {}
    stand_in = False

    def source_digest(self, spec: ManifestSpec, root: Path | None) -> str:
        """Over the manifest's bytes and the sizes of the files that it names. A Parquet one takes pyarrow."""
        manifest = read_manifest(find_manifest(root))
        manifest.require("label", "the class of the row")
        total = hashlib.sha256(manifest.path.read_bytes())
        if "audio" in spec.modalities:
            manifest.require("audio", "which modality audio reads")
        for path in sorted(_files(manifest, spec)):
            size = path.stat().st_size if path.is_file() else None
            total.update(f"{size}\n".encode())
        return total.hexdigest()[:16]

    def prepare(
        self, spec: ManifestSpec, root: Path | None, out: Path, workers: int, progress: Progress
    ) -> Prepared:
        from trainables.importers.manifest_rows import read_rows
        from trainables.importers.rows import write_rows

        path = find_manifest(root)
        read = read_rows(read_manifest(path), spec)
        remarks, folder = read.remarks, path.parent
        written = write_rows(
            read.rows, spec, out, workers, progress, labels=read.labels, remarks=remarks, root=folder
        )
        facts = {"labels": list(read.labels), "speaker_disjoint": read.speaker_disjoint}
        return Prepared(written.rows, written.problems, {**written.info, **facts})


def _files(manifest: Manifest, spec: ManifestSpec) -> set[Path]:
    """Those that are read, or would be where a row names no video."""
    columns = {"audio": ["audio"], "visual": ["audio", "video"], "text": []}
    named = {column for modality in spec.modalities for column in columns[modality]}
    places = (manifest.place(index, column) for index in range(len(manifest.rows)) for column in named)
    return {path for path in places if path}
