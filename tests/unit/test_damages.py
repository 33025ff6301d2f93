"""Conditions done to rows of a corpus: what changes, what stays, and on what it depends."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from tests.helpers.teachers import small_corpus
from trainables.corpus import read_table, schema
from trainables.corruption.noise import Voice, active_power, at_snr, white
from trainables.corruption.pictures import shown
from trainables.corruption.pool import BabblePool
from trainables.corruption.rows import Damages
from trainables.corruption.words import Confusions, dropped
from trainables.determinism import derive
from trainables.spec.robustness import Condition, RobustnessSpec
from trainables.storage import Storage

WIDTH = 3
TEXT = "one two three four five six seven eight nine ten " * 5
TONE = (0.3 * np.sin(np.arange(8_000) * 0.2)).astype(np.float32)
VOICES = (Voice("ann", TONE), Voice("bob", np.roll(TONE[:5_000] ** 3, 7)))
DAMAGES = Damages(RobustnessSpec(), BabblePool(VOICES), Confusions(Counter({"other": 1})))
CONDITIONS = RobustnessSpec().conditions(("audio", "text", "visual"))


def flac(wave: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, 16_000, format="FLAC")
    return buffer.getvalue()


def heard(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(soundfile.read(io.BytesIO(data), dtype="float32")[0])


def table(**columns: Any) -> pa.Table:
    """Two rows: everything is there in the first, nothing but its label in the second."""
    full = {
        "uid": "u0", "speaker": "ann", "text": TEXT, "audio": flac(TONE),
        "images": [f"picture {i}".encode() for i in range(20)],
        "visual_vectors": np.arange(20 * WIDTH, dtype=np.float32).tolist(),
    }  # fmt: skip
    empty = {"uid": "u1", "speaker": "", "text": ""}
    common = {
        "split": "test", "dialogue": "d", "turn": 0, "label": "joy", "text_hash": 0, "seconds": 0.5,
        "raw_seconds": 0.5, "status": "ok", "reason": "",
    }  # fmt: skip
    return pa.Table.from_pylist([common | full | columns, common | empty], schema=schema())


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda c: c.name)
def test_a_condition_harms_its_own_column_alone(condition: Condition) -> None:
    clean, harmed = table(), DAMAGES.done(table(), condition)
    column = {"audio": "audio", "text": "text", "visual": "images"}[condition.modality]
    assert harmed.schema.equals(clean.schema)
    assert {name for name in clean.column_names if harmed[name] != clean[name]} == {column}
    assert harmed[column][1] == clean[column][1]  # where there is nothing, nothing is harmed


def test_speech_stands_as_far_over_the_noise_as_the_name_says() -> None:
    for level in (20.0, 0.0):
        harmed = DAMAGES.done(table(), Condition(damage="white", level=level))
        noise = white(len(TONE), derive(0, "white", "u0"))
        # FLAC of 16 bits rounds to 1 / 32768.
        assert np.allclose(heard(harmed["audio"][0].as_py()), at_snr(TONE, noise, level), atol=2 / 32768)


def test_babble_is_by_others_than_the_speaker() -> None:
    babble = Condition(damage="babble", level=0.0)
    for speaker, other in (("ann", VOICES[1]), ("bob", VOICES[0])):
        mixed = heard(DAMAGES.done(table(speaker=speaker), babble)["audio"][0].as_py())
        alone = Damages(RobustnessSpec(), BabblePool((other,))).done(table(speaker=speaker), babble)
        assert np.array_equal(mixed, heard(alone["audio"][0].as_py()))
        assert active_power(mixed) > 0 and not np.allclose(mixed, TONE, atol=0.05)


def test_words_and_pictures_are_lost_by_the_row_s_own_seed() -> None:
    words = DAMAGES.done(table(), Condition(damage="words_dropped", level=0.3))["text"][0].as_py()
    assert words == dropped(table()["text"][0].as_py(), 0.3, derive(0, "words_dropped", "u0"))
    other = DAMAGES.done(table(uid="u2"), Condition(damage="words_dropped", level=0.3))["text"][0].as_py()
    assert other != words
    seen = DAMAGES.done(table(), Condition(damage="frames_dropped", level=0.7))["images"][0].as_py()
    assert seen == [f"picture {i}".encode() for i in shown(20, 0.7, derive(0, "frames_dropped", "u0"))]


def test_vectors_are_lost_step_by_step() -> None:
    damages = Damages(RobustnessSpec(seed=3), widths={"visual": WIDTH})
    condition = Condition(damage="frames_dropped", level=0.7)
    harmed = damages.done(table(), condition)
    steps = np.asarray(harmed["visual_vectors"][0].as_py()).reshape(-1, WIDTH)
    kept = shown(20, 0.7, derive(3, "frames_dropped", "u0"))
    assert np.array_equal(steps, np.arange(20 * WIDTH).reshape(-1, WIDTH)[kept])
    assert harmed["images"] == table()["images"]


def test_what_is_needed_is_read_of_train_alone(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "store"))
    corpus = small_corpus(storage, n=20)
    found = Damages.read(storage, corpus, None, conditions=CONDITIONS, spec=RobustnessSpec(), widths={})
    assert found.pool is not None and found.confusions is not None and len(found.pool.voices) == 11
    rows = read_table(storage, corpus, ["split", "text"]).to_pylist()
    train = {word for r in rows if r["split"] == "train" for word in r["text"].split()}
    assert all(found.confusions.of(word) in train for word in ("happy", "anger", "xylophone"))
    few = Damages.read(storage, corpus, None, conditions=CONDITIONS[:3], spec=RobustnessSpec(), widths={})
    assert few.pool is None and few.confusions is None
