"""What is said once of all clips of a corpus: real ones have thousands of which it would be said one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trainables.importers.clips import Clip
from trainables.importers.files import some
from trainables.importers.lfs import explain


class Tally:
    """Counts clips that are Git-LFS stubs, and those in which no face was found."""

    def __init__(self) -> None:
        self._clips = self._stubs = self._seen = 0
        self._faceless: list[str] = []

    def add(self, uid: str, clip: Clip) -> None:
        self._clips += 1
        self._stubs += clip.is_stub
        self._seen += clip.images.images is not None
        if clip.images.faceless:
            self._faceless.append(uid)

    def remarks(self, root: Path | None) -> Iterator[str]:
        """`root`: where the corpus lies; without it nothing is said of stubs."""
        if self._stubs and root:
            yield explain(self._stubs, self._clips, root)
        if self._faceless:
            count = len(self._faceless)
            yield (
                f"no face found in {count} of {self._seen} clips with pictures ({100 * count / self._seen:.1f} %), "
                f"whose middle was taken: {some(self._faceless)}"
            )
