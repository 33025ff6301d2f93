"""The files below a corpus's root, whatever folders they lie in: clips by name, and copies of the same clip."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainables.errors import CorpusError
from trainables.importers.lfs import LARGEST, is_stub

DEPTH = 6
BLOCK, WHOLE_BLOCKS = 2**20, 64
SUFFIXES = (".wav", ".flac")
"""Of two files of one name the original's kind is read."""


@dataclass(frozen=True)
class Clip:
    path: Path
    size: int
    stub: bool = False
    """Whether it is a Git-LFS stub, which a file of the same name in another format or folder replaces."""


@dataclass(frozen=True)
class Clips:
    """One file per name; `copies` are the further ones, `others` those of that name in another format."""

    of: Mapping[str, Clip]
    copies: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    others: int = 0

    def check_copies(self) -> None:
        """Read the copies: CorpusError naming two files of one name that differ."""
        for name, paths in self.copies.items():
            for path in paths:
                if not filecmp.cmp(self.of[name].path, path, shallow=False):
                    raise CorpusError(differ(self.of[name].path, path))

    def remarks(self) -> Iterator[str]:
        yield from self.twice()
        if self.others:
            yield f"{plural(self.others, 'clip is', 'clips are')} there as wav and as flac; the wav was read"

    def twice(self) -> Iterator[str]:
        copies = sum(len(paths) for paths in self.copies.values())
        if copies:
            first = next(iter(self.copies.values()))[0]
            yield f"{plural(copies, 'file is', 'files are')} there twice, byte for byte (as {first}), and read once"

    def digest_lines(self) -> Iterator[bytes]:
        """Names and sizes, not where the files lie."""
        for _, clip in sorted(self.of.items()):
            yield f"{clip.path.name} {clip.size}\n".encode()


def walk(folder: Path, corpus: str, depth: int = DEPTH) -> Iterator[os.DirEntry[str]]:
    """The files down to `depth` folders, sorted; without hidden ones and what a Mac adds to archives."""
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        raise CorpusError(f"{folder}: cannot be read ({error.strerror}); {corpus} is looked for there") from error
    for entry in entries:
        if entry.name.startswith((".", "__MACOSX")):
            continue
        if entry.is_dir():
            if depth > 0:
                yield from walk(Path(entry.path), corpus, depth - 1)
        elif entry.is_file():  # not a link to nothing
            yield entry


def stem(path: Path) -> str:
    return path.stem


def find_clips(
    entries: Iterable[os.DirEntry[str]],
    wanted: Callable[[Path], bool],
    suffixes: Sequence[str] = SUFFIXES,
    name: Callable[[Path], str] = stem,
) -> Clips:
    """The files of `suffixes` (the first one preferred) that are `wanted`, which may raise for a bad name.

    Files of one `name` are one clip. CorpusError where two of one name and format differ in size.
    """
    found: dict[str, dict[str, list[Clip]]] = {}
    for entry in entries:
        path = Path(entry.path)
        suffix = path.suffix.lower()
        if suffix in suffixes and wanted(path):
            found.setdefault(name(path), {}).setdefault(suffix, []).append(_clip(entry))
    clips: dict[str, Clip] = {}
    copies: dict[str, list[Path]] = {}
    others = 0
    for clip, formats in sorted(found.items()):
        kept = [_one(formats[suffix]) for suffix in suffixes if suffix in formats]
        clips[clip], rest = min(kept, key=lambda one: one[0].stub)
        others += len(kept) - 1 if clips[clip] is kept[0][0] else 0
        if rest:
            copies[clip] = rest
    return Clips(clips, copies, others)


def _clip(entry: os.DirEntry[str]) -> Clip:
    size = entry.stat().st_size
    return Clip(Path(entry.path), size, stub=size < LARGEST and is_stub(Path(entry.path)))


def _one(same: Iterable[Clip]) -> tuple[Clip, list[Path]]:
    """The clip among files of one name and format, and its copies: no stub where there is another."""
    first, *rest = sorted(same, key=lambda clip: (clip.stub, len(clip.path.parts), clip.path))
    copies = [clip for clip in rest if clip.stub == first.stub]
    for clip in copies:
        if clip.size != first.size:
            raise CorpusError(differ(first.path, clip.path))
    return first, [clip.path for clip in copies]


def blocks(path: Path) -> Iterator[bytes]:
    """The file's size and its bytes in blocks of 1 MiB; of a larger file `WHOLE_BLOCKS` of them, evenly spaced, so
    that hashing it takes under a second."""
    size = path.stat().st_size
    yield f"{size}\n".encode()
    with path.open("rb") as file:
        for index in range(WHOLE_BLOCKS):
            file.seek(max(index * BLOCK, index * (size - BLOCK) // (WHOLE_BLOCKS - 1)))
            yield file.read(BLOCK)


def plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def some(names: Sequence[str]) -> str:
    """The first few of them."""
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def differ(first: Path, second: Path) -> str:
    return f"{first} and {second} have one name and differ; keep the one to be read below the corpus's root"
