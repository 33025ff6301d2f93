"""The summary as a document and as a page."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from orchestrator import label_scores, robustness
from orchestrator.confusion import as_columns
from orchestrator.display.tables import print_summary
from orchestrator.events import ConditionScore, Interval, LabelScore, ModelRow, Spread
from orchestrator.pipeline import ceilings, scored_inputs, store_tables, stored_summary
from orchestrator.summary import Gain, Summary
from tests.helpers.sweeps import row, summary
from trainables.artifacts import Record
from trainables.spec import RunSpec
from trainables.storage import Storage


def page(found: Summary, width: int = 80) -> list[str]:
    stream = io.StringIO()
    print_summary(found, Console(file=stream, width=width, color_system=None, highlight=False))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_the_document_has_the_promised_keys() -> None:
    found = json.loads(summary().model_dump_json())
    assert list(found) == [
        "experiment",
        "fingerprint",
        "stand_in",
        "metric",
        "stages",
        "trials",
        "leaderboard",
        "gains",
        "ceilings",
        "paths",
        "front",
        "folds",
        "labels",
        "alignment",
        "comparable",
        "ceilings_metric",
        "inputs",
        "ablations",
    ]
    assert {"skipped", "seconds"} <= set(found["stages"]["prepare"])
    assert found["trials"] == {"total": 12, "completed": 8, "pruned": 3, "failed": 1}
    promised = {"name", "role", "score", "sd", "interval", "seeds", "parameters", "latency_ms"}
    assert all(promised <= set(one) for one in found["leaderboard"])
    assert all({"over", "difference", "interval"} <= set(one) for one in found["gains"])
    assert found["ceilings"] == {"audio": 0.551, "text": 0.552, "audio+text": 0.71}


def test_the_document_is_read_back_as_it_was() -> None:
    assert Summary.model_validate_json(summary().model_dump_json()) == summary()


@pytest.mark.parametrize("width", [80, 120])
def test_the_page_fits_and_holds_everything(width: int) -> None:
    lines = page(summary(), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(" ".join(line.split()) for line in lines)
    for wanted in (
        "STAND-IN CORPUS",
        "trial-0004 best 0.561 0.561 ± 0.010 [0.521, 0.601] 126 k 2.12 ms",
        "teacher-fusion teacher 0.571 0.571 [0.531, 0.611] 94.4 M",
        "over default +0.010 [-0.010, +0.030]\n",
        "over supervised +0.040 [+0.012, +0.068] clear of 0",
        "Bayes ceilings (weighted_f1): audio 0.551, text 0.552, audio+text 0.710",
        "12 trials: 8 completed, 3 pruned, 1 failed",
        "sweep /data/orch-store/sweeps/cmd-meld-0123456789abcdef",
        "to look orch ui",
    ):
        assert wanted in text


def test_a_pareto_front_is_named() -> None:
    assert "Pareto front on dev: trials 3, 8" in "\n".join(page(summary(front=[3, 8])))
    assert "Pareto" not in "\n".join(page(summary()))


def test_a_real_corpus_has_neither_warning_nor_ceilings() -> None:
    text = "\n".join(page(summary(stand_in=False, ceilings=None)))
    assert "STAND-IN" not in text
    assert "ceilings" not in text


def test_a_long_name_is_folded_not_cut() -> None:
    name = "a-name-of-more-than-thirty-letters"
    lines = page(summary(leaderboard=[row(name, "best", 0.5)]))
    first = next(number for number, line in enumerate(lines) if line.startswith("a-name"))
    assert lines[first].split()[0] + lines[first + 1] == name
    assert max(map(len, lines)) <= 80


def test_a_stored_summary_that_cannot_be_read_is_as_good_as_none(tmp_path: Path) -> None:
    storage, found = Storage(str(tmp_path)), summary()
    assert stored_summary(storage, "summary.json") is None
    storage.write_text("summary.json", found.model_dump_json())
    assert stored_summary(storage, "summary.json") == found
    storage.write_text("summary.json", found.model_dump_json()[:100])
    assert stored_summary(storage, "summary.json") is None


def cross_validated() -> Summary:
    spreads = {name: Spread(mean=0.5, sd=0.02, each=[0.48, 0.52]) for name in ("accuracy", "uar")}
    counts = [[30, 10, 0], [5, 5, 0], [0, 0, 0]]
    rows = [
        row("best-1", "best", 0.56, folds=spreads, confusion=counts, metrics={"accuracy": 0.55, "uar": 0.45}),
        row("no-kd", "ablation", 0.5, folds=spreads, metrics={"accuracy": 0.5, "uar": 0.4}),
        row("a-change-with-a-name-of-almost-forty-letters", "ablation", 0.61, folds=spreads),
    ]
    interval = Interval(low=0.01, high=0.11)
    cost = [Gain(of="best-1", over=one.name, difference=0.06, interval=interval) for one in rows[1:]]
    return summary(leaderboard=rows, folds=2, labels=["neutral", "excitement", "joy"], ablations=cost, gains=[])


@pytest.mark.parametrize("width", [80, 120])
def test_the_page_of_a_cross_validation(width: int) -> None:
    lines = page(cross_validated(), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(" ".join(line.split()) for line in lines)
    for wanted in (
        "test rows of all 2 folds together",
        "Accuracy and mean recall (mean ± sd over 2 folds)",
        "best-1 0.550 0.450 0.500 ± 0.020 0.500 ± 0.020",
        "Ablations, and the gain of best-1 over each",
        "no-kd 0.500 0.500 ± 0.010 +0.060 [+0.010, +0.110] clear of 0",
        "Confusion of best-1: label by prediction",
        "neutr excit joy rows",
        "neutral 75 25 0 20",
        "excitement 50 50 0 5",
        "joy 0",
    ):
        assert wanted in text, wanted
    assert "no-kd ablation" not in text


def test_one_split_has_neither_folds_nor_ablations() -> None:
    text = "\n".join(page(summary()))
    assert not any(word in text for word in ("folds", "Ablations", "Confusion"))


def test_a_confusion_of_many_labels_is_in_its_file_alone() -> None:
    labels = [f"label-{number}" for number in range(12)]
    best = row("best-1", "best", 0.5, confusion=[[1] * 12] * 12)
    assert "Confusion" not in "\n".join(page(summary(leaderboard=[best], labels=labels)))


def test_confusions_are_stored_by_model_label_and_prediction(tmp_path: Path) -> None:
    found = cross_validated()
    store_tables(Storage(str(tmp_path)), "sweeps/s", "d", found)
    assert [path.name for path in (tmp_path / "sweeps/s").iterdir()] == ["confusion-d.parquet"]
    rows = pq.read_table(tmp_path / "sweeps/s/confusion-d.parquet").to_pylist()
    assert len(rows) == 9
    assert rows[1] == {
        "model": "best-1", "role": "best", "label": "neutral", "predicted": "excitement", "count": 10,
        "share": 0.25, "seeds": 2,
    }  # fmt: skip
    assert rows[8]["share"] is None
    columns = as_columns(found.leaderboard, found.labels)
    assert columns["columns"] == ["model", "label", "neutral", "excitement", "joy"]
    assert columns["data"][0] == ["best-1", "neutral", 30, 10, 0]
    assert len(columns["data"]) == 3


def test_several_labels_are_shown_and_stored_one_by_one(tmp_path: Path) -> None:
    scores = [
        LabelScore(
            label="happy", support=40, balanced_accuracy=0.75, f1=0.5, average_precision=0.6, tuned_f1=0.55,
            threshold=0.31,
        ),
        LabelScore(
            label="fear", support=0, balanced_accuracy=None, f1=None, average_precision=None, tuned_f1=None,
            threshold=0.5,
        ),
    ]  # fmt: skip
    found = summary(leaderboard=[row("best-1", "best", 0.5, by_label=scores)], labels=["happy", "fear"])
    text = [" ".join(line.split()) for line in page(found)]
    assert "Labels of best-1: at 0.5, and F1 at the threshold fitted on dev" in text
    assert "happy 40 0.750 0.500 0.600 0.550 0.310" in text and not any("Confusion" in line for line in text)
    store_tables(Storage(str(tmp_path)), "sweeps/s", "d", found)
    assert [path.name for path in (tmp_path / "sweeps/s").iterdir()] == ["labels-d.parquet"]
    stored = pq.read_table(tmp_path / "sweeps/s/labels-d.parquet").to_pylist()
    assert [one["label"] for one in stored] == ["happy", "fear"]
    assert stored[0]["tuned_f1"] == 0.55 and stored[1]["f1"] is None
    assert label_scores.as_columns(found.leaderboard)["data"][0][:3] == ["best-1", "happy", 40]


def under(name: str, score: float, change: float) -> ConditionScore:
    interval, cost = (Interval(low=v - 0.05, high=v + 0.05) for v in (score, change))
    return ConditionScore(
        name=name, score=score, interval=interval, change=change, change_interval=cost,
        metrics={"weighted_f1": score, "uar": score / 2},
    )  # fmt: skip


def tried() -> list[ModelRow]:
    """Four models, one of which reads the words alone."""
    words = under("words-substituted-30%", 0.402, -0.159)
    both = [under("only-audio+visual", 0.3, -0.261), under("white-0dB", 0.512, -0.049), words]
    return [
        row("best-1", "best", 0.561, robustness=both, metrics={"uar": 0.5, "mce": 0.1}),
        row("best-2", "best", 0.56, robustness=both),
        row("default", "default", 0.551, robustness=both[:2]),
        row("no-teacher", "control", 0.521, robustness=both),
        row("text-only", "unimodal", 0.4, robustness=[words]),
        row("teacher-fusion", "teacher", 0.57),
    ]


def test_the_page_tells_what_missing_and_damaged_input_costs() -> None:
    lines = page(summary(leaderboard=tried()))
    assert max(map(len, lines)) <= 80
    start = lines.index("Where input is missing or damaged: weighted_f1 on test, and its change")
    found = [" ".join(line.split()) for line in lines[start + 1 : start + 7]]
    assert found == [
        "interval: of best-1's change; those of all rows are in robustness-*.parquet",
        "condition best-1 95 % interval default no-teacher",
        "clean 0.561 0.551 0.521",
        "only-audio+visual 0.300 -0.261 [-0.311, -0.211] 0.300 -0.261 0.300 -0.261",
        "white-0dB 0.512 -0.049 [-0.099, +0.001] 0.512 -0.049 0.512 -0.049",
        "words-substituted-30% 0.402 -0.159 [-0.209, -0.109] 0.402 -0.159",
    ]
    clean, white = lines[start + 3], lines[start + 5]
    assert clean.index("0.561") == white.index("0.512")  # the scores stand below each other
    assert lines[start + 6].rindex("0.402") == white.rindex("0.512")  # and a gap moves nothing
    assert "missing or damaged" not in "\n".join(page(summary()))


def test_models_that_are_not_compared_make_room_for_ablations() -> None:
    rows = [row("default", "default", 0.5), row("a-name-of-almost-forty-letters-it-really-is", "ablation", 0.4)]
    rows = [one.model_copy(update={"robustness": [under("only-text", 0.3, -0.2)]}) for one in rows]
    lines = page(summary(leaderboard=rows))
    assert max(map(len, lines)) <= 80
    assert "only-text 0.300 -0.200 [-0.250, -0.150] 0.300 -0.200" in [" ".join(line.split()) for line in lines]


def test_every_condition_of_every_model_is_stored(tmp_path: Path) -> None:
    found = summary(leaderboard=tried())
    store_tables(Storage(str(tmp_path)), "sweeps/s", "d", found)
    assert [path.name for path in (tmp_path / "sweeps/s").iterdir()] == ["robustness-d.parquet"]
    rows = pq.read_table(tmp_path / "sweeps/s/robustness-d.parquet").to_pylist()
    assert [one["condition"] for one in rows[:4]] == ["clean", *(c.name for c in found.leaderboard[0].robustness)]
    assert len(rows) == 4 + 4 + 3 + 4 + 2 and "teacher-fusion" not in {one["model"] for one in rows}
    assert rows[0] == {
        "model": "best-1", "role": "best", "condition": "clean", "score": 0.561, "low": pytest.approx(0.521),
        "high": pytest.approx(0.601), "change": 0.0, "change_low": None, "change_high": None,
        "weighted_f1": None, "uar": 0.5, "seeds": 2,
    }  # fmt: skip
    assert rows[2]["change_high"] == pytest.approx(0.001) and rows[2]["uar"] == 0.256
    shown = robustness.as_columns(found.leaderboard)
    assert shown["columns"][:4] == ["model", "role", "condition", "score"]
    assert shown["data"][2][:4] == ["best-1", "best", "white-0dB", 0.512] and len(shown["data"]) == len(rows)


def test_a_dev_score_of_several_inputs_says_so() -> None:
    inputs = scored_inputs(
        RunSpec.model_validate(
            {
                "corpus": {"type": "standin", "modalities": ["audio", "visual"]},
                "teachers": {"audio": None, "text": None, "fusion": None},
                "student": {"type": "cross_modal_transformer"},
                "method": {"type": "co_learning"},
            }
        )
    )
    assert inputs == ["audio+visual", "audio", "visual"] and scored_inputs(RunSpec()) == []
    told = "dev of such a method is the mean over its inputs: audio+visual, audio, visual"
    assert told in page(summary(inputs=inputs)) and not any("inputs" in line for line in page(summary()))


@pytest.mark.parametrize(
    ("metric", "told"),
    [("balanced_accuracy", ("balanced_accuracy", {"audio": 0.7})), ("uar", ("weighted_f1", {"audio": 0.5}))],
)
def test_ceilings_are_of_the_sweeps_own_score_where_they_are_known(metric: str, told: Any) -> None:
    info = {"ceilings": {"audio": 0.5}, "ceilings_balanced_accuracy": {"audio": 0.7}}
    record = Record(kind="corpus", fingerprint="f", spec={}, info=info, created=datetime.now(UTC))
    assert ceilings(record, metric) == told
    real = record.model_copy(update={"info": {"ceilings": None}})
    assert ceilings(real, metric)[1] is None
