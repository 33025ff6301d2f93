"""A confirmed model under missing and damaged input: its conditions, scores, predictions and identity."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.helpers.runs import small_run
from tests.helpers.transfer_sets import synthetic
from trainables.artifacts import Record, publish
from trainables.conditions import condition_names, missing, prefix, robustness_fingerprint
from trainables.confirm import confirm_model
from trainables.confirm import read_predictions as clean_predictions
from trainables.errors import ArtifactError
from trainables.evaluation import export
from trainables.metrics import scores
from trainables.robustness import evaluate_model, read_predictions
from trainables.spec.metrics import MULTI_LABEL_METRICS
from trainables.spec.robustness import Condition, RobustnessSpec
from trainables.storage import Storage
from trainables.students import build_student
from trainables.transfer_set import TransferSet

MODEL = "aaaaaaaaaaaaaaaa"
WHITE, WORDS = Condition(damage="white", level=10), Condition(damage="words_dropped", level=0.3)
FRAMES = Condition(damage="frames_dropped", level=0.3)


def test_every_proper_part_may_be_all_that_is_left() -> None:
    assert missing(("visual", "audio")) == {"only-audio": ("audio",), "only-visual": ("visual",)}
    assert missing(("text",)) == {}
    assert list(missing(("audio", "text", "visual"))) == [
        "only-audio+text", "only-audio+visual", "only-text+visual", "only-audio", "only-text", "only-visual",
    ]  # fmt: skip


def test_a_student_stands_the_conditions_of_what_it_reads() -> None:
    assert condition_names(("text",), (WHITE, WORDS, FRAMES)) == ("words-dropped-30%",)
    every = RobustnessSpec().conditions(("audio", "text", "visual"))
    names = condition_names(("audio", "text"), every)
    assert names[:4] == ("only-audio", "only-text", "white-20dB", "white-10dB")
    assert len(names) == 2 + 6 + 4 and len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({"snr": (10, 0, 10)}, "white-10dB"),
        ({"noises": ("babble", "babble")}, "babble-20dB"),
        ({"words_dropped": (0.1, 0.10000001)}, "words-dropped-10%"),
    ],
)
def test_a_condition_is_named_once(spec: dict[str, Any], name: str) -> None:
    """Two splits of one name would be one of twice the rows, found out when all models are trained."""
    with pytest.raises(ValidationError, match=f"condition {name} is there twice"):
        RobustnessSpec.model_validate(spec)


def test_the_identity_is_that_of_all_that_is_read() -> None:
    names = condition_names(("audio", "text"), (WHITE,))
    identities = {
        robustness_fingerprint(MODEL, "d", names),
        robustness_fingerprint("b", "d", names),
        robustness_fingerprint(MODEL, "e", names),
        robustness_fingerprint(MODEL, None, names),
        robustness_fingerprint(MODEL, "d", names[:-1]),
    }
    assert len(identities) == 5


def damaged_of(clean: TransferSet, condition: Condition, *, silent: bool) -> TransferSet:
    """Its test split under the condition's name: all frames zero, or as they were."""
    heard = clean.streams["audio"]
    values = np.zeros_like(heard.values) if silent else heard.values
    return replace(
        clean,
        split=np.where(clean.split == "test", condition.name, "elsewhere"),
        streams={**clean.streams, "audio": replace(heard, values=values)},
        teachers={},
        fingerprint="damaged",
    )


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    return synthetic(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def storage(clean: TransferSet, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """With a model of audio and text in it."""
    store = Storage(str(tmp_path_factory.mktemp("store")))
    confirm_model(small_run(), clean, store, MODEL, mc_passes=2, threads=1)
    return store


def test_predictions_and_scores_of_every_condition_are_kept(clean: TransferSet, storage: Storage) -> None:
    damaged = damaged_of(clean, WHITE, silent=True)
    record = evaluate_model(storage, MODEL, clean, damaged, (WHITE, FRAMES), threads=1)
    names = ("only-audio", "only-text", "white-10dB")
    assert record.fingerprint == robustness_fingerprint(MODEL, "damaged", names)
    assert record.reads == {"model": MODEL, "damaged": "damaged", "transfer_set": clean.fingerprint}
    assert record.rows == dict.fromkeys(names, 28) and tuple(record.info["scores"]) == names
    assert record.info["missing"] == {"only-audio": ["audio"], "only-text": ["text"]}
    seen = [clean_predictions(storage, MODEL, "test")[2]]
    found, labels = read_predictions(storage, record.fingerprint), clean.label[clean.split == "test"]
    assert tuple(found) == names
    for name, (uids, probabilities) in found.items():
        assert uids == [f"test-{i}" for i in range(28)]
        assert scores(labels, probabilities) == pytest.approx(record.info["scores"][name], abs=1e-6)
        assert all(not np.allclose(probabilities, other, atol=1e-4) for other in seen)
        seen.append(probabilities)
    assert storage.exists(f"{prefix(record.fingerprint)}/predictions.parquet")


def test_undamaged_rows_give_the_clean_predictions(clean: TransferSet, storage: Storage) -> None:
    same = replace(damaged_of(clean, WHITE, silent=False), fingerprint="same")
    record = evaluate_model(storage, MODEL, clean, same, (WHITE,), threads=1)
    uids, probabilities = read_predictions(storage, record.fingerprint)["white-10dB"]
    expected = clean_predictions(storage, MODEL, "test")
    assert uids == expected[0]
    assert np.allclose(probabilities, expected[2], atol=1e-6)


def test_without_audio_its_frames_say_nothing(clean: TransferSet, storage: Storage) -> None:
    """`only-text` is the same whatever the frames are, `only-audio` is not."""
    deaf = replace(damaged_of(clean, WHITE, silent=True), split=clean.split, fingerprint="deaf")
    one, other = (evaluate_model(storage, MODEL, data, None, (), threads=1) for data in (clean, deaf))
    assert one.fingerprint == other.fingerprint and one.created == other.created  # it is there: not made again
    fresh = Storage(storage.root + "-again")
    confirm_model(small_run(), clean, fresh, MODEL, mc_passes=2, threads=1)
    again = evaluate_model(fresh, MODEL, deaf, None, (), threads=1)
    for name, equal in (("only-text", True), ("only-audio", False)):
        first = read_predictions(storage, one.fingerprint)[name][1]
        second = read_predictions(fresh, again.fingerprint)[name][1]
        assert np.allclose(first, second, atol=1e-6) is equal


def test_a_damaged_set_of_other_rows_is_refused(clean: TransferSet, storage: Storage) -> None:
    short = damaged_of(clean, WHITE, silent=True)
    short.split[np.flatnonzero(clean.split == "test")[0]] = "elsewhere"
    with pytest.raises(ArtifactError, match="white-10dB is not the test split"):
        evaluate_model(storage, MODEL, clean, replace(short, fingerprint="short"), (WHITE,), threads=1)


def test_an_unknown_model_is_an_error(clean: TransferSet, storage: Storage) -> None:
    with pytest.raises(ArtifactError, match="no such artifact"):
        evaluate_model(storage, "nothing", clean, None, (), threads=1)


def test_several_labels_are_scored_at_the_thresholds_that_the_model_has(tmp_path: Path) -> None:
    data, store = synthetic(tmp_path / "data", several=True), Storage(str(tmp_path / "store"))
    run, thresholds = small_run(), np.linspace(0.3, 0.6, 7)
    export(build_student(run.student, data, seed=0), run, data, tmp_path / "out")
    info = {"thresholds": thresholds.tolist()}
    model = Record(kind="model", fingerprint=MODEL, spec={}, info=info, created=datetime.now(UTC))
    publish(store, f"models/{MODEL}", tmp_path / "out", model)
    record = evaluate_model(store, MODEL, data, None, (), threads=1)
    _, probabilities = read_predictions(store, record.fingerprint)["only-text"]
    truth = data.truth[data.rows("test", ())]
    assert truth.shape == probabilities.shape == (28, 7)
    assert record.info["thresholds"] == info["thresholds"]
    found = record.info["scores"]["only-text"]
    assert set(found) > set(MULTI_LABEL_METRICS)
    assert found["macro_f1"] == pytest.approx(scores(truth, probabilities)["macro_f1"])
    assert found["tuned/macro_f1"] == pytest.approx(scores(truth, probabilities, thresholds)["macro_f1"])
