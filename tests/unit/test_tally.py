"""What is said once of a whole corpus: how many clips show no face, while each row keeps its reason."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.manifest_trees import row as line
from tests.helpers.manifest_trees import write_csv
from tests.helpers.meld_trees import FOLDERS, row, write_csvs, write_tree
from tests.helpers.sounds import write_sound
from tests.helpers.videos import plain, write_video
from trainables.corpus import read_table
from trainables.errors import CorpusError
from trainables.importers.clips import NO_AUDIO, Clip, Job
from trainables.importers.lfs import explain
from trainables.importers.media import ClipAudio
from trainables.importers.tally import Tally
from trainables.importers.video import NO_FACE, ClipImages
from trainables.prepare import prepare, problem_table
from trainables.spec import CorpusSpec, ManifestSpec, MeldSpec
from trainables.spec.any_corpus import VisualSpec
from trainables.spec.base import Modality
from trainables.storage import Storage

FACES = VisualSpec(size=16, crop="face")
READ: tuple[Modality, ...] = ("audio", "visual")


def prepared(root: Path, spec: CorpusSpec) -> tuple[list[tuple[str, str]], list[str]]:
    """(uid, reason) of what `orch prepare` remarks, and the reasons of all rows."""
    storage = Storage(str(root.parent / "store"))
    record = prepare(storage, spec, root, 1, lambda done, total: None)
    found: list[dict[str, Any]] = read_table(storage, record.fingerprint).to_pylist()
    shown = problem_table(record)
    return [(said.uid, said.reason) for said in (*shown.remarks, *shown.problems)], [row["reason"] for row in found]


def wall(path: Path) -> Path:
    return write_video(path, [plain(120)] * 25, sound=1.0)


@pytest.mark.parametrize(
    ("faceless", "told"),
    [
        (0, []),
        (1, ["no face found in 1 of 8 clips with pictures (12.5 %), whose middle was taken: u0"]),
        (
            6,
            ["no face found in 6 of 8 clips with pictures (75.0 %), whose middle was taken: u0, u1, u2, u3, u4, …"],
        ),
    ],
)
def test_clips_without_a_face_are_counted_among_those_with_pictures(faceless: int, told: list[str]) -> None:
    tally = Tally()
    for n in range(10):
        pictures = ClipImages([b""], "ok", "", n < faceless) if n < 8 else ClipImages(None, "no_video", "none")
        tally.add(f"u{n}", Job(None, None), Clip(NO_AUDIO, pictures))
    assert list(tally.remarks(None)) == told


HEARD, MUTE, ABSENT = (
    ClipAudio(b"", 1.0, 1.0, "ok"),
    *(ClipAudio(None, 0, 0, s) for s in ("lfs_stub", "missing_media")),
)
SHOWN, BLIND = ClipImages([b""], "ok"), ClipImages(None, "lfs_stub")


@pytest.mark.parametrize(
    ("found", "stubs", "files"),
    [
        ([("a.mp4", "a.mp4", Clip(HEARD, SHOWN))], 0, 1),
        ([("a.mp4", "a.mp4", Clip(MUTE, BLIND))] * 3 + [("b.mp4", "b.mp4", Clip(HEARD, SHOWN))] * 5, 1, 2),
        ([("a.wav", "a.mp4", Clip(HEARD, BLIND)), ("b.wav", "b.mp4", Clip(MUTE, SHOWN))], 2, 4),
        ([("a.wav", "a.mp4", Clip(HEARD)), ("b.wav", "b.mp4", Clip(MUTE))], 1, 2),
        ([("a.wav", None, Clip(ABSENT, BLIND)), ("b.wav", "b.mp4", Clip(ABSENT, BLIND))], 1, 1),
    ],
    ids=["none", "many clips of one file", "sound and pictures apart", "pictures not read", "absent files"],
)
def test_stubs_are_counted_by_file(found: list[tuple[str, str | None, Clip]], stubs: int, files: int) -> None:
    tally, root = Tally(), Path("corpus")
    for sound, pictures, clip in found:
        tally.add("u", Job(root / sound, root / pictures if pictures else None), clip)
    assert list(tally.remarks(root)) == ([explain(stubs, files, root)] if stubs else [])
    assert list(tally.remarks(None)) == []


def test_a_corpus_of_stubs_alone_is_refused() -> None:
    tally, root = Tally(), Path("corpus")
    tally.check(root)
    for clip in ("a.mp4", "b.mp4"):
        tally.add(clip, Job(root / clip, root / clip), Clip(MUTE, BLIND))
    tally.add("c", Job(root / "c.mp4", None), Clip(ABSENT))
    with pytest.raises(CorpusError, match=re.escape(explain(2, 2, root))):
        tally.check(root)
    tally.add("d", Job(root / "d.mp4", None), Clip(HEARD))
    tally.check(root)


@pytest.mark.parametrize("spec", [ManifestSpec(), MeldSpec()], ids=["manifest", "meld"])
def test_nothing_is_prepared_of_stubs_alone(spec: ManifestSpec | MeldSpec, tmp_path: Path) -> None:
    root = tmp_path / "raw"
    if isinstance(spec, MeldSpec):
        write_tree(root, {})
        clips = [root / folder / "dia0_utt0.mp4" for folder in FOLDERS.values()]
    else:
        write_csv(root / "manifest.csv", [line(n, audio=f"{n}.wav") for n in range(8)])
        clips = [root / f"{n}.wav" for n in range(8)]
    for clip in clips:
        clip.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(CorpusError, match=re.escape(explain(len(clips), len(clips), root))):
        prepared(root, spec)
    assert not list((tmp_path / "store").rglob("*.parquet"))


def test_a_manifest_says_it_once_and_a_rows_other_remark_stays(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the extra 'faces' is not installed")
    root = tmp_path / "raw"
    wall(root / "wall.mp4")
    write_sound(root / "tone.wav", 1.0)
    lines = [line(n, audio="tone.wav", video="wall.mp4", start=0, end=1 if n else 1.5) for n in range(8)]
    write_csv(root / "manifest.csv", lines)
    said, reasons = prepared(root, ManifestSpec(modalities=READ, visual=FACES))
    assert said == [
        (
            "all",
            "no face found in 8 of 8 clips with pictures (100.0 %), whose middle was taken: row-2, row-3, row-4, "
            "row-5, row-6, …",
        ),
        ("row-2", "the file ends 0.50 s before its end"),
    ]
    assert reasons == [f"pictures: {NO_FACE}; the file ends 0.50 s before its end", *[f"pictures: {NO_FACE}"] * 7]


def test_meld_says_it_once_and_a_problem_of_the_row_stays(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the extra 'faces' is not installed")
    cut = {"StartTime": "00:00:03,000", "EndTime": "00:00:03,000"}
    rows = {"train": [row(0, 0), row(0, 1)], "dev": [row(0, 0, Season="2")], "test": [row(0, 0, Season="3", **cut)]}
    root = write_csvs(tmp_path / "meld", rows)
    for split, folder in FOLDERS.items():
        for n, _ in enumerate(rows[split]):
            wall(root / folder / f"dia0_utt{n}.mp4")
    (root / FOLDERS["train"] / "dia0_utt1.mp4").write_bytes(b"no film")
    said, reasons = prepared(root, MeldSpec(modalities=READ, visual=FACES))
    empty = "its StartTime is not before its EndTime in the CSV file"
    broken = "InvalidDataError: Invalid data found when processing input"
    assert said == [
        (
            "all",
            "no face found in 3 of 3 clips with pictures (100.0 %), whose middle was taken: train-dia0-utt0, "
            "dev-dia0-utt0, test-dia0-utt0",
        ),
        ("train-dia0-utt1", broken),
        ("test-dia0-utt0", empty),
    ]
    assert reasons == [f"pictures: {NO_FACE}", broken, f"pictures: {NO_FACE}", f"pictures: {NO_FACE}; {empty}"]
