"""CMU-MOSEI (Zadeh et al., ACL 2018): segments of YouTube monologues, rated for six emotions.

Read is the raw tree (`Raw/Audio`, `Raw/Videos`, `Raw/Transcript`, `Raw/Labels`) and `.csd` files of the SDK,
wherever they lie below the root. Labels are those of `CMU_MOSEI_Labels.csd`, else the means of the raters' CSV
files; the sentiment is not used. The split is the official one, by video.

A row is `<video>[k]`, k the segment's row in the `.csd`: so the SDK numbers what it aligns to the labels, and it is
not the order in time (`turn` is). With the raters' CSV files k is the clip. The video stands for dialogue and
speaker, as nobody says who speaks: a person may speak in train and in test.

Known of the release, and not to be seen in it: the times of some long videos are those of another cut (hh04W3xXa5s,
ZZzdvUdOTww; issues 227 and 278 of the SDK).
"""

from __future__ import annotations

from pathlib import Path

from trainables.importers.base import Prepared, Progress
from trainables.importers.mosei_layout import find_layout
from trainables.spec import MoseiSpec
from trainables.spec.corpus import SIX_EMOTIONS


class MoseiImporter:
    labels = SIX_EMOTIONS
    expected: dict[str, int] = {}
    stand_in = False

    def source_digest(self, spec: MoseiSpec, root: Path | None) -> str:
        return find_layout(root, spec.modalities).digest()

    def prepare(self, spec: MoseiSpec, root: Path | None, out: Path, workers: int, progress: Progress) -> Prepared:
        """Raises UserError naming the extra where labels or words are a .csd and h5py is not installed."""
        from trainables.importers.mosei_rows import read_rows
        from trainables.importers.rows import write_rows

        read = read_rows(find_layout(root, spec.modalities), spec)
        written = write_rows(
            read.rows, spec, out, workers, progress, labels=SIX_EMOTIONS, remarks=read.remarks, root=root
        )
        facts = {"excluded": read.excluded, "extra_clips": read.unlabelled}
        return Prepared(written.rows, written.problems, {**written.info, **facts})
