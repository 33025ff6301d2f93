"""What rows become, whichever importer made them: labels of several, vectors, and shards that stay small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.helpers.sounds import write_sound
from tests.helpers.videos import counting, write_video
from trainables.importers import parquet_writer
from trainables.importers.clips import NO_AUDIO, NO_IMAGES, Clip
from trainables.importers.media import ClipAudio
from trainables.importers.rows import RawRow, write_rows
from trainables.importers.video import NO_FACE, ClipImages
from trainables.spec import FeaturesCorpusSpec, ManifestSpec
from trainables.spec.any_corpus import AnyCorpus, VisualSpec

LABELS = ("fear", "joy", "sad")


def raw(number: int, **changes: Any) -> RawRow:
    values = {"uid": f"u{number}", "split": "train", "dialogue": f"u{number}", "speaker": "a", "label": "joy"}
    return RawRow(**(values | {"text": "", "clip": None} | changes))


def written(rows: list[RawRow], spec: AnyCorpus, folder: Path, **more: Any) -> list[dict[str, Any]]:
    folder.mkdir()
    write_rows(rows, spec, folder, 1, lambda done, total: None, **more)
    return [row for path in sorted(folder.iterdir()) for row in pq.read_table(path).to_pylist()]


def test_targets_name_the_label(tmp_path: Path) -> None:
    rows = [raw(0, label="", targets=(0, 1, 1)), raw(1, label="", targets=(0, 0, 0)), raw(2)]
    found = written(rows, ManifestSpec(modalities=("text",)), tmp_path / "out", labels=LABELS)
    assert [row["label"] for row in found] == ["joy+sad", "", "joy"]
    assert [row["targets"] for row in found] == [[0, 1, 1], [0, 0, 0], None]


def test_vectors_are_stored_step_by_step_and_nothing_is_decoded(tmp_path: Path) -> None:
    audio = np.arange(6, dtype=np.float32).reshape(3, 2)
    rows = [raw(0, vectors={"audio": audio, "visual": -audio[:1]}), raw(1, vectors={"visual": audio})]
    found = written(rows, FeaturesCorpusSpec(), tmp_path / "out")
    assert [row["audio_vectors"] for row in found] == [[0, 1, 2, 3, 4, 5], None]
    assert [row["visual_vectors"] for row in found] == [[0, -1], [0, 1, 2, 3, 4, 5]]
    assert {row["text_vectors"] for row in found} == {None}
    assert {(row["status"], row["audio"], row["images"]) for row in found} == {("ok", None, None)}


def test_pictures_may_be_in_another_file_than_the_sound(tmp_path: Path) -> None:
    sound, film = write_sound(tmp_path / "a.wav", 1.0), write_video(tmp_path / "a.mp4", counting(25))
    spec = ManifestSpec(modalities=("audio", "visual"), visual=VisualSpec(size=32))
    row = written([raw(0, clip=sound, video=film)], spec, tmp_path / "out")[0]
    assert (row["status"], row["reason"], row["seconds"], len(row["images"])) == ("ok", "", 1.0, 5)


def test_shards_are_closed_by_the_bytes_of_pictures_and_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = write_video(tmp_path / "a.mp4", counting(25))
    spec = ManifestSpec(modalities=("visual",), visual=VisualSpec(size=32))
    size = sum(map(len, written([raw(0, clip=film)], spec, tmp_path / "one")[0]["images"]))
    monkeypatch.setattr(parquet_writer, "SHARD_BYTES", 2 * size)
    written([raw(n, clip=film) for n in range(5)], spec, tmp_path / "films")
    counts = [pq.read_metadata(path).num_rows for path in sorted((tmp_path / "films").iterdir())]
    assert counts == [2, 2, 1]
    monkeypatch.setattr(parquet_writer, "SHARD_BYTES", 3 * 4 * 10)
    vectors = {"audio": np.zeros((5, 2), np.float32)}
    written([raw(n, vectors=vectors) for n in range(7)], FeaturesCorpusSpec(), tmp_path / "vectors")
    counts = [pq.read_metadata(path).num_rows for path in sorted((tmp_path / "vectors").iterdir())]
    assert counts == [3, 3, 1]


HEARD, SEEN = ClipAudio(b"", 1.0, 1.0, "ok"), ClipImages([b""], "ok")
DEAF, BLIND = ClipAudio(None, 0.0, 0.0, "no_audio", "no sound"), ClipImages(None, "no_video", "no sight")
LONG = ClipAudio(b"", 1.0, 2.0, "too_long", "cropped")
FACELESS, BOTH = ClipImages([b""], "ok", "", faceless=True), ClipImages([b""], "ok", "skipped", faceless=True)


@pytest.mark.parametrize(
    ("clip", "status", "reason"),
    [
        (Clip(), "ok", ""),
        (Clip(HEARD, SEEN), "ok", ""),
        (Clip(HEARD, BLIND), "ok", "pictures: no sight"),
        (Clip(DEAF, SEEN), "no_audio", "no sound"),
        (Clip(DEAF, BLIND), "no_audio", "no sound; pictures: no sight"),
        (Clip(LONG, ClipImages([b""], "too_long", "cropped")), "too_long", "cropped"),
        (Clip(NO_AUDIO, BLIND), "no_video", "no sight"),
        (Clip(NO_AUDIO, SEEN), "ok", ""),
        (Clip(DEAF, NO_IMAGES), "no_audio", "no sound"),
    ],
)
def test_the_sounds_status_comes_first_and_both_reasons_are_said(clip: Clip, status: str, reason: str) -> None:
    assert (clip.status, clip.reason) == (status, reason)


@pytest.mark.parametrize(
    ("clip", "kept", "listed"),
    [
        (Clip(HEARD, FACELESS), f"pictures: {NO_FACE}", ""),
        (Clip(NO_AUDIO, FACELESS), NO_FACE, ""),
        (Clip(HEARD, BOTH), f"pictures: skipped; {NO_FACE}", "pictures: skipped"),
        (Clip(NO_AUDIO, BOTH), f"skipped; {NO_FACE}", "skipped"),
        (Clip(LONG, FACELESS), f"cropped; pictures: {NO_FACE}", "cropped"),
        (Clip(DEAF, BLIND), "no sound; pictures: no sight", "no sound; pictures: no sight"),
    ],
)
def test_that_no_face_was_found_is_kept_and_not_listed(clip: Clip, kept: str, listed: str) -> None:
    assert (clip.reason, clip.remark) == (kept, listed)
