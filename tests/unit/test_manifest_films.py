"""Pictures of a manifest's rows: where they are read from, and what is said where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.manifest_trees import row, write_clips, write_csv
from tests.helpers.videos import counting, number, write_video
from trainables.artifacts import Record
from trainables.corpus import read_table
from trainables.errors import CorpusError
from trainables.importers.lfs import STUB, explain
from trainables.importers.manifest import ManifestImporter
from trainables.pictures import decode_images
from trainables.prepare import prepare, problem_table
from trainables.spec import ManifestSpec
from trainables.spec.any_corpus import VisualSpec
from trainables.storage import Storage

SEEN = ManifestSpec(modalities=("audio", "visual"), visual=VisualSpec(size=32))
PICTURES = ManifestSpec(modalities=("visual",), visual=VisualSpec(size=32))
SOUND = ManifestSpec()
TEXT = ManifestSpec(modalities=("text",))


def ignore(done: int, total: int) -> None:
    assert done <= total


def prepared(root: Path, spec: ManifestSpec) -> tuple[Record, list[dict[str, Any]]]:
    storage = Storage(str(root.parent / "store"))
    record = prepare(storage, spec, root, 1, ignore)
    return record, read_table(storage, record.fingerprint).to_pylist()


def filmed(folder: Path, **changes: Any) -> Path:
    """Eight films of half a second with sound, named in the column `audio` unless `changes` say otherwise."""
    for n in range(8):
        write_video(folder / "films" / f"{n}.mp4", counting(16)[n : n + 1] * 13, sound=0.5)
    named = {"audio": "films/{n}.mp4"} | changes
    lines = [row(n, **{k: v.format(n=n) if isinstance(v, str) else v for k, v in named.items()}) for n in range(8)]
    write_csv(folder / "manifest.csv", lines)
    return folder


def numbers(found: list[dict[str, Any]]) -> list[set[int]]:
    """Which pictures of `counting` each row has."""
    return [{number(picture) for picture in decode_images(row["images"])} for row in found]


@pytest.mark.parametrize("spec", [SEEN, PICTURES], ids=["with sound", "pictures alone"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"video": "films/{n}.mp4", "audio": "clips/{n}.wav"}, {"video": "", "audio": "films/{n}.mp4"}],
    ids=["in the audio file", "in their own", "their own not named"],
)
def test_pictures_are_of_the_video_or_of_the_audio_file(
    changes: dict[str, Any], spec: ManifestSpec, tmp_path: Path
) -> None:
    root = filmed(tmp_path / "raw", **changes)
    write_clips(root)
    record, found = prepared(root, spec)
    assert record.info["problems"] == record.info["remarks"] == []
    assert numbers(found) == [{n} for n in range(8)]
    assert {row["audio"] is None for row in found} == {spec is PICTURES}


def test_pictures_need_no_audio_column_where_videos_are_named(tmp_path: Path) -> None:
    _, found = prepared(filmed(tmp_path / "raw", audio=None, video="films/{n}.mp4"), PICTURES)
    assert numbers(found) == [{n} for n in range(8)]


def test_a_row_without_pictures_says_why_and_keeps_its_sounds_status(tmp_path: Path) -> None:
    root = filmed(tmp_path / "raw", video="films/{n}.mp4")
    (root / "films" / "1.mp4").write_bytes(b"no film")
    (root / "films" / "2.mp4").unlink()
    write_clips(root)
    write_csv(root / "manifest.csv", [row(n, video=f"films/{n}.mp4" if n else "clips/0.wav") for n in range(8)])
    shown = problem_table(prepared(root, SEEN)[0])
    assert shown.problems == ()
    assert [(said.uid, said.reason) for said in shown.remarks] == [
        ("row-2", "pictures: the file has no pictures"),
        ("row-3", "pictures: InvalidDataError: Invalid data found when processing input"),
        ("row-4", "pictures: there is no file 2.mp4"),
    ]
    record, found = prepared(root, PICTURES)
    assert [row["status"] for row in found[:4]] == ["no_video", "decode_error", "missing_media", "ok"]
    assert [row["images"] is None for row in found[:4]] == [True, True, True, False]
    assert problem_table(record).problems[0].reason == "the file has no pictures"


def test_what_is_said_of_sound_and_pictures_alike_is_said_once(tmp_path: Path) -> None:
    root = filmed(tmp_path / "raw")
    (root / "films" / "1.mp4").unlink()
    shown = problem_table(prepared(root, SEEN)[0])
    assert [(p.status, p.reason) for p in shown.problems] == [("missing_media", "there is no file 1.mp4")]


def test_a_git_lfs_stub_is_told_so(tmp_path: Path) -> None:
    root = filmed(tmp_path / "raw")
    (root / "films" / "1.mp4").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    for spec in (SEEN, SOUND, PICTURES):
        shown = problem_table(prepared(root, spec)[0])
        assert [(p.status, p.reason) for p in shown.problems] == [("lfs_stub", STUB)]
        assert [said.reason for said in shown.remarks] == [explain(1, 8, root)]


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.parquet"])
def test_a_manifest_that_is_a_stub_itself_is_told_so(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(CorpusError, match=rf"{name}: the file is a Git-LFS stub"):
        ManifestImporter().source_digest(TEXT, tmp_path)


def test_parts_of_a_film_are_cut_out_of_sound_and_pictures_alike(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    write_video(root / "long.mp4", counting(100), sound=4.0)
    lines = [row(n, audio="long.mp4", start=n / 2, end=(n + 1) / 2) for n in range(8)]
    write_csv(root / "manifest.csv", lines)
    _, found = prepared(root, SEEN)
    first = [number(decode_images(row["images"])[0]) for row in found]
    assert first == [round(25 * n / 2 - 0.01) for n in range(8)]
    assert {len(row["images"]) for row in found} == {3}
    assert {row["seconds"] for row in found} == {0.5}


def test_the_digest_is_of_the_videos_too_where_they_are_read(tmp_path: Path) -> None:
    root = filmed(tmp_path / "raw", audio="clips/{n}.wav", video="films/{n}.mp4")
    write_clips(root)
    first = [ManifestImporter().source_digest(spec, root) for spec in (SOUND, SEEN, TEXT)]
    write_video(root / "films" / "3.mp4", counting(40))
    second = [ManifestImporter().source_digest(spec, root) for spec in (SOUND, SEEN, TEXT)]
    assert [a == b for a, b in zip(first, second, strict=True)] == [True, False, True]


def test_no_video_outside_the_manifests_folder_is_read(tmp_path: Path) -> None:
    root = filmed(tmp_path / "raw", video="../films/{n}.mp4")
    with pytest.raises(CorpusError, match=r"row 2: video '\.\./films/0\.mp4' is outside"):
        prepared(root, SEEN)
