"""What is said once of all clips of a corpus: real ones have thousands of which it would be said one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trainables.errors import CorpusError
from trainables.importers.clips import Clip, Job
from trainables.importers.files import some
from trainables.importers.lfs import explain


class Tally:
    """Counts the files that are Git-LFS stubs, and the clips in which no face was found."""

    def __init__(self) -> None:
        self._stubs: dict[Path, bool] = {}
        """Of every file that is there: one may have many clips, and sound and pictures of a clip two."""
        self._seen = 0
        self._faceless: list[str] = []

    def add(self, uid: str, job: Job, clip: Clip) -> None:
        for path, status in zip((job.clip, job.video), clip.statuses, strict=True):
            if path and status not in (None, "missing_media"):
                self._stubs[path] = status == "lfs_stub"
        self._seen += clip.images.images is not None
        if clip.images.faceless:
            self._faceless.append(uid)

    def check(self, root: Path | None) -> None:
        """CorpusError where all files are stubs: there is nothing to be learned from such a corpus."""
        if root and self._stubs and all(self._stubs.values()):
            raise CorpusError(explain(len(self._stubs), len(self._stubs), root))

    def remarks(self, root: Path | None) -> Iterator[str]:
        """`root`: where the corpus lies; without it nothing is said of stubs."""
        stubs = sum(self._stubs.values())
        if stubs and root:
            yield explain(stubs, len(self._stubs), root)
        if self._faceless:
            count = len(self._faceless)
            yield (
                f"no face found in {count} of {self._seen} clips with pictures ({100 * count / self._seen:.1f} %), "
                f"whose middle was taken: {some(self._faceless)}"
            )
