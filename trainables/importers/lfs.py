"""Git-LFS stubs: the text files of some 130 bytes that stand for clips in a download without Git LFS.

The pointer format: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md (under 1024 bytes, and its first line
names the version).
"""

from __future__ import annotations

from pathlib import Path

LARGEST = 1024
"""No stub has as many bytes."""
STUB = "a Git-LFS stub, which stands for the file and is not it"
"""What is said of one row."""
_FIRST = b"version https://git-lfs.github.com/spec/v1"


def is_stub(path: Path) -> bool:
    """By its first bytes; False where it cannot be read, which decoding will say better."""
    try:
        with path.open("rb") as file:
            return file.read(len(_FIRST)) == _FIRST
    except OSError:
        return False


def explain(stubs: int, files: int, root: Path) -> str:
    """What is there instead of the files, and how to get them: one sentence for the user."""
    which = "the file is a Git-LFS stub" if files == 1 else f"{stubs} of {files} files are Git-LFS stubs"
    return (
        f"{root}: {which}, a few lines of text that stand for the content, as a zip download or a clone without "
        "Git LFS leaves them; in a clone run `git lfs install`, then `git lfs pull`, or fetch each file from "
        "https://media.githubusercontent.com/media/OWNER/REPOSITORY/BRANCH/PATH"
    )
