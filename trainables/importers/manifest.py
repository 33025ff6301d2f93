"""Anybody's corpus: a manifest, CSV (UTF-8, commas, header first) or Parquet, with a row an utterance.

| column | |
|---|---|
| `label` | one of the spec's `labels`; where it names none, of those that occur |
| `audio` | the file's path from the manifest's folder, and within it: WAV, FLAC, MP3, MP4, whatever FFmpeg reads |
| `text` | what is said, in any language; kept as it is |
| `split` | `train`, `dev` or `test`, with `folds: 0` |
| `fold` | with `folds: k`, a number from 0 to k - 1: the fold in which the row is tested |
| `uid` | optional: the row's name, there once only; else `row-` and its number |
| `speaker` | optional |
| `dialogue` | optional: its rows are its turns in order, and lie in one split; else a row stands alone |
| `start`, `end` | optional: the part of the file that is meant, in seconds |
| `votes.<label>` | with `votes: true`: how many raters chose the label, or which share of them |

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
            for path in sorted(_files(manifest)):
                size = path.stat().st_size if path.is_file() else None
                total.update(f"{size}\n".encode())
        return total.hexdigest()[:16]

    def prepare(
        self, spec: ManifestSpec, root: Path | None, out: Path, workers: int, progress: Progress
    ) -> Prepared:
        from trainables.importers.manifest_rows import read_rows
        from trainables.importers.rows import write_rows

        read = read_rows(read_manifest(find_manifest(root)), spec)
        written = write_rows(read.rows, spec, out, workers, progress, remarks=read.remarks)
        facts = {"labels": list(read.labels), "speaker_disjoint": read.speaker_disjoint}
        return Prepared(written.rows, written.problems, {**written.info, **facts})


def _files(manifest: Manifest) -> set[Path]:
    return {path for path in map(manifest.place, range(len(manifest.rows))) if path}
