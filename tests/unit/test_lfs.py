"""Git-LFS stubs: told by their first bytes, and explained with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainables.importers.lfs import LARGEST, explain, is_stub

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 73567\n"


@pytest.mark.parametrize(
    ("content", "stub"),
    [
        (POINTER, True),
        (POINTER.replace(b"\n", b"\r\n"), True),
        (b"version https://git-lfs", False),
        (b"RIFF\x00\x00\x00\x00WAVE", False),
        (b"", False),
        (b"\n" + POINTER, False),
    ],
    ids=["a stub", "of Windows", "cut off", "a sound", "empty", "text that holds one"],
)
def test_a_stub_is_told_by_its_first_bytes(content: bytes, stub: bool, tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(content)
    assert is_stub(path) is stub
    assert len(content) < LARGEST


def test_what_cannot_be_read_is_no_stub(tmp_path: Path) -> None:
    assert not is_stub(tmp_path / "absent.wav")
    assert not is_stub(tmp_path)


def test_the_way_out_is_said_in_one_line(tmp_path: Path) -> None:
    told = explain(3, 7, tmp_path)
    assert told.startswith(f"{tmp_path}: 3 of 7 files are Git-LFS stubs")
    assert "`git lfs install`, then `git lfs pull`" in told
    assert "https://media.githubusercontent.com/media/" in told
    assert "\n" not in told
    assert "the file is a Git-LFS stub" in explain(1, 1, tmp_path)
