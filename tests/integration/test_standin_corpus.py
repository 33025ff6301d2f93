"""The stand-in from its rules to Parquet: spoken by eSpeak NG, written in MELD's layout, read as MELD is."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainables.corpus import SAMPLE_RATE, check_rows, read_table, with_fold
from trainables.errors import CorpusError
from trainables.importers import IMPORTERS
from trainables.importers.base import Prepared
from trainables.prepare import prepare
from trainables.spec import EMOTIONS, StandInSpec
from trainables.spec.any_corpus import VisualSpec
from trainables.standin import writer
from trainables.standin.films import Film
from trainables.standin.rules import plan
from trainables.storage import Storage

SPEC = StandInSpec(utterances=330, seed=3)
IMPORTER = IMPORTERS["standin"]


def silent(done: int, total: int) -> None:
    assert 0 <= done <= total == SPEC.utterances


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, Path]:
    out = tmp_path_factory.mktemp("standin")
    return IMPORTER.prepare(SPEC, None, out, 2, silent), out


@pytest.fixture(scope="module")
def rows(made: tuple[Prepared, Path]) -> list[dict[str, Any]]:
    tables = [pq.read_table(path) for path in sorted(made[1].glob("*.parquet"))]
    return list(pa.concat_tables(tables).to_pylist())


def samples(row: dict[str, Any]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    wave, rate = soundfile.read(io.BytesIO(row["audio"]))
    assert rate == SAMPLE_RATE
    return np.asarray(wave)


def test_the_importer_reads_every_line_as_it_was_planned(
    made: tuple[Prepared, Path], rows: list[dict[str, Any]]
) -> None:
    lines = plan(SPEC)
    check_rows(rows, EMOTIONS)
    assert made[0].rows == Counter(line.split for line in lines)
    assert made[0].problems == ()
    assert {row["status"] for row in rows} == {"ok"}
    planned = [(line.uid, line.split, line.turn, line.speaker.speaker, line.label, line.text) for line in lines]
    read = [tuple(row[c] for c in ("uid", "split", "turn", "speaker", "label", "text")) for row in rows]
    assert read == planned


def test_every_row_has_its_raters_votes(rows: list[dict[str, Any]]) -> None:
    assert all(sum(row["votes"]) == pytest.approx(1, abs=1e-6) for row in rows)
    assert all(row["votes"][EMOTIONS.index(row["label"])] > 0.3 for row in rows)
    assert all(row["folds"] is None for row in rows)


def test_folds_are_by_speaker_and_leave_the_ceilings_alone(tmp_path: Path) -> None:
    spec = StandInSpec(utterances=120, folds=3, modalities=("text",))
    storage = Storage(str(tmp_path))
    record = prepare(storage, spec, None, 1, lambda done, total: None)
    assert record.rows == {"all": 120}
    assert record.info["speaker_disjoint"] == ["test"]
    unfolded = StandInSpec(utterances=120, modalities=("text",))
    assert record.info["ceilings"] == prepare(storage, unfolded, None, 1, lambda d, t: None).info["ceilings"]
    table = read_table(storage, record.fingerprint, ["uid", "split", "dialogue", "speaker", "folds"])
    assert table["split"].to_pylist() == [own[0] for own in table["folds"].to_pylist()]
    tested = Counter(uid for fold in range(3) for uid in _tested(table, fold))
    assert tested == Counter(table["uid"].to_pylist())
    assert all(uid.startswith("dia") for uid in tested)


def _tested(table: pa.Table, fold: int) -> list[str]:
    rows = with_fold(table, fold).to_pylist()
    assert {row["split"] for row in rows} == {"train", "dev", "test"}
    return [row["uid"] for row in rows if row["split"] == "test"]


def test_the_bytes_depend_on_the_spec_alone(made: tuple[Prepared, Path], tmp_path: Path) -> None:
    IMPORTER.prepare(SPEC, None, tmp_path, 1, silent)
    names = [path.name for path in sorted(made[1].iterdir())]
    assert names == [path.name for path in sorted(tmp_path.iterdir())]
    assert all((made[1] / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)


def test_words_and_phones_are_timed_within_the_audio(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        said = " ".join(word["label"] for word in row["words"])
        assert said == row["text"].replace(",", "").rstrip(".")
        for segments in (row["words"], row["phones"]):
            times = [time for segment in segments for time in (segment["start"], segment["end"])]
            assert times == sorted(times) and times[0] >= 0 and times[-1] <= row["seconds"] + 1e-4
            assert all(segment["end"] > segment["start"] for segment in segments)
        first, last = row["words"][0], row["words"][-1]
        assert row["phones"][0]["start"] == first["start"] and row["phones"][-1]["end"] == last["end"]


def test_the_times_are_those_of_the_sound(rows: list[dict[str, Any]]) -> None:
    """The pause after the call, which lies between two words, is silent against the words."""
    ratios = []
    for row in rows:
        power = samples(row) ** 2
        edges = [round(time * SAMPLE_RATE) for time in (row["words"][0]["end"], row["words"][1]["start"])]
        margin = round(0.03 * SAMPLE_RATE)
        if edges[1] - edges[0] > 4 * margin:
            ratios.append(power[edges[0] + margin : edges[1] - margin].mean() / power.mean())
    assert len(ratios) > 200
    assert np.quantile(ratios, 0.9) < 0.02


def test_the_voice_tells_its_emotion_also_in_unheard_speakers(rows: list[dict[str, Any]]) -> None:
    """A linear model on summed-up spectra learns the manner from 220 utterances, two of its testers unheard."""
    voice = np.array([line.voice for line in plan(SPEC)])
    spectra = np.stack([summary(samples(row)) for row in rows])
    train = np.array([row["split"] == "train" for row in rows])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=2000))
    assert model.fit(spectra[train], voice[train]).score(spectra[~train], voice[~train]) > 0.8
    shuffled = np.random.default_rng(0).permutation(voice)
    assert model.fit(spectra[train], shuffled[train]).score(spectra[~train], shuffled[~train]) < 0.4


def summary(wave: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Mean, spread and change of 40 log bands over time, and the length: [121]."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, 512)[::160] * np.hanning(512)
    power = np.abs(np.fft.rfft(frames)) ** 2
    edges = np.unique(np.geomspace(2, 256, 48).astype(int))[:41]
    bands = np.log(np.add.reduceat(power, edges, axis=1) + 1e-8)[:, :-1]
    change = np.abs(np.diff(bands, axis=0)).mean(axis=0)
    return np.concatenate([bands.mean(axis=0), bands.std(axis=0), change, [len(wave) / SAMPLE_RATE]])


def test_the_record_says_what_it_is_and_how_well_anyone_can_do(made: tuple[Prepared, Path]) -> None:
    info = made[0].info
    assert info["stand_in"] is True and IMPORTER.stand_in
    assert "nothing about MELD" in info["warning"]
    assert info["ceilings"].keys() == info["ceilings_accuracy"].keys() == {"audio", "text", "audio+text"}
    assert info["ceilings"]["audio+text"] > info["ceilings"]["text"] > 0.5
    assert np.shape(info["rules"]["words"]) == (7, 7)


SEEN = StandInSpec(
    utterances=60, seed=3, modalities=("audio", "text", "visual"), visual=VisualSpec(rate=5, size=48)
)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, list[dict[str, Any]]]:
    out = tmp_path_factory.mktemp("seen")
    made = IMPORTER.prepare(SEEN, None, out, 1, lambda done, total: None)
    return made, read(out)


def read(out: Path) -> list[dict[str, Any]]:
    return list(pa.concat_tables([pq.read_table(path) for path in sorted(out.glob("*.parquet"))]).to_pylist())


def test_melds_importer_reads_the_faces(seen: tuple[Prepared, list[dict[str, Any]]]) -> None:
    """Each row's pictures, at half the film's rate, are those of its own film."""
    made, rows = seen
    assert made.problems == ()
    for row, line in zip(rows, plan(SEEN), strict=True):
        film = Film.of(line)
        assert abs(len(row["images"]) - len(film) / 2) <= 1
        faces = [Image.open(io.BytesIO(image)) for image in row["images"]]
        assert {(face.size, face.format) for face in faces} == {((48, 48), "JPEG")}
        drawn = np.asarray(film.picture(2 * (len(faces) - 1)).convert("L").resize((48, 48)), dtype=float)
        assert np.abs(np.asarray(faces[-1].convert("L"), dtype=float) - drawn).mean() < 12


def test_faces_leave_the_sound_as_it_is(seen: tuple[Prepared, list[dict[str, Any]]], tmp_path: Path) -> None:
    heard = SEEN.model_copy(update={"modalities": ("audio", "text")})
    IMPORTER.prepare(heard, None, tmp_path, 1, lambda done, total: None)
    for row, deaf in zip(seen[1], read(tmp_path), strict=True):
        assert row | {"images": None} == deaf


def test_clips_of_sound_and_faces_are_the_same_for_any_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "BLOCK", 10)
    spec = SEEN.model_copy(update={"utterances": 20})
    for workers in (1, 2):
        list(writer.write_tree(spec, tmp_path / str(workers), workers))
    files = sorted(path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*") if path.is_file())
    assert sum(path.suffix == ".mp4" for path in files) == 20
    assert all((tmp_path / "1" / path).read_bytes() == (tmp_path / "2" / path).read_bytes() for path in files)


def test_the_record_of_faces_has_a_ceiling_for_every_choice(
    seen: tuple[Prepared, list[dict[str, Any]]],
) -> None:
    bounds = seen[0].info["ceilings"]
    alone, pairs = {"audio", "text", "visual"}, {"audio+text", "audio+visual", "text+visual"}
    assert bounds.keys() == alone | pairs | {"audio+text+visual"}
    assert max(bounds[one] for one in alone) < min(bounds[pair] for pair in pairs) < bounds["audio+text+visual"]


@pytest.mark.parametrize("folds", [0, 2])
def test_several_labels_are_in_the_rows_and_the_record(tmp_path: Path, folds: int) -> None:
    spec = StandInSpec(utterances=120, several=True, folds=folds, modalities=("text",))
    storage = Storage(str(tmp_path))
    record = prepare(storage, spec, None, 1, lambda done, total: None)
    assert record.info["multi_label"] is True and record.info["raters"] == 0
    scores = ("ceilings", "ceilings_balanced_accuracy", "ceilings_exact_match")
    assert all(0 < record.info[score]["text"] < 0.8 for score in scores)
    assert "ceilings_accuracy" not in record.info
    assert np.shape(record.info["rules"]["label"]) == (22, 22)
    columns = ["label", "targets", "votes", "folds"]
    for row, line in zip(read_table(storage, record.fingerprint, columns).to_pylist(), plan(spec), strict=True):
        assert row["targets"] == [float(emotion in line.labels) for emotion in EMOTIONS]
        assert row["label"] == "+".join(line.labels)
        assert row["votes"] is None and (row["folds"] is None) == (not folds)


def test_text_alone_needs_no_speech(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"modalities": ("text",)})
    prepared = IMPORTER.prepare(spec, None, tmp_path, 1, silent)
    table = pa.concat_tables([pq.read_table(path) for path in sorted(tmp_path.glob("*.parquet"))])
    assert prepared.problems == () and table.num_rows == SPEC.utterances
    assert table["audio"].null_count == table.num_rows


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="reads no folder"):
        IMPORTER.source_digest(SPEC, tmp_path)
