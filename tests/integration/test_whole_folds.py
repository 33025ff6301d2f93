"""`orch sweep` and `orch ablate` on a cross-validated corpus, as a user runs them: text alone, two folds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from tests.integration.test_whole_sweep import environment

EXPERIMENT: dict[str, Any] = {
    "name": "folds",
    "claim": "It is cross-validated.",
    "run": {
        "corpus": {"type": "standin", "utterances": 110, "folds": 2, "modalities": ["text"]},
        "teachers": {
            "audio": None,
            "fusion": None,
            "text": {
                "encoder": {"type": "scratch", "width": 16, "layers": 1, "heads": 2, "vocabulary": 300},
                "training": {"epochs": 1, "head_learning_rate": 0.01},
            },
        },
        "features": {"vocabulary": "train"},
        "student": {
            "type": "audio_text_transformer", "modalities": ["text"], "width": 8, "heads": 2, "self_layers": 1,
            "token_width": 4,
        },
        "method": {"type": "cmd", "phases": "joint"},
        "training": {"epochs": 3, "batch_size": 16, "learning_rate": 0.01},
    },
    "search": {
        "scheduler": {"type": "asha", "grace_epochs": 2},
        "space": {"student.dropout": {"type": "float", "low": 0.0, "high": 0.4}},
    },
    "confirm": {
        "top": 1, "seeds": 2, "resamples": 100, "mc_passes": 2,
        "robustness": {"words_dropped": [0.5], "words_substituted": []},
        "ablations": {
            "no-kd": {"method.kd_weight": 0.0},
            "same": {"method.phases": "joint"},
        },
    },
}  # fmt: skip


def orch(store: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "orchestrator.cli", *arguments, "folds.yaml", "--json", "--plain"]
    done = subprocess.run(
        command, env=environment(store), cwd=store, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    (store / f"{arguments[0]}.err").write_text(done.stderr, encoding="utf-8")
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folds")
    (folder / "folds.yaml").write_text(yaml.safe_dump(EXPERIMENT), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def swept(store: Path) -> dict[str, Any]:
    return orch(store, "sweep", "--trials", "2")


def rows_of(store: Path, model: str) -> list[dict[str, Any]]:
    path = store / "store" / "models" / model / "predictions.parquet"
    return list(pq.read_table(path, filters=[("split", "=", "test")]).to_pylist())


def test_every_fold_has_its_own_teacher_transfer_set_and_models(swept: dict[str, Any], store: Path) -> None:
    root = store / "store"
    assert len(list((root / "teachers").glob("*/record.json"))) == 2
    sets = [json.loads(path.read_text("utf-8")) for path in (root / "transfer_sets").glob("*/record.json")]
    damaged = {one["fingerprint"]: one["info"]["clean"] for one in sets if one["info"].get("kind") == "damaged"}
    clean = {one["fingerprint"] for one in sets} - set(damaged)
    assert len(clean) == len(damaged) == 2 and set(damaged.values()) == clean
    best = swept["leaderboard"][0]
    records = [json.loads((root / "models" / m / "record.json").read_text("utf-8")) for m in best["models"]]
    assert [(r["spec"]["seed"], r["spec"]["fold"]) for r in records] == [(1000, 0), (1000, 1), (1001, 0), (1001, 1)]
    assert {r["reads"]["transfer_set"] for r in records} == clean


def test_a_row_pools_the_folds_and_tells_their_spread(swept: dict[str, Any], store: Path) -> None:
    best = swept["leaderboard"][0]
    first, second = (best["models"][:2], best["models"][2:])
    for seed in (first, second):
        assert set(Counter(row["uid"] for model in seed for row in rows_of(store, model)).values()) == {1}
    pooled = [[row for model in seed for row in rows_of(store, model)] for seed in (first, second)]
    assert [len(rows) for rows in pooled] == [110, 110]
    true, given = [[[row[c] for row in rows] for rows in pooled] for c in ("label", "predicted")]
    f1 = [f1_score(a, b, average="weighted") for a, b in zip(true, given, strict=True)]
    assert best["score"] == pytest.approx(fmean(f1), abs=1e-9)
    assert best["sd"] == pytest.approx(stdev(f1), abs=1e-9)
    for name, metric in (("accuracy", accuracy_score), ("uar", balanced_accuracy_score)):
        assert best["metrics"][name] == pytest.approx(
            fmean(metric(a, b) for a, b in zip(true, given, strict=True)), abs=1e-9
        )
        each = [
            fmean(
                metric(*zip(*((r["label"], r["predicted"]) for r in rows_of(store, m)), strict=True))
                for m in models
            )
            for models in zip(first, second, strict=True)
        ]
        assert best["folds"][name]["each"] == pytest.approx(each, abs=1e-9)
        assert best["folds"][name]["sd"] == pytest.approx(stdev(each), abs=1e-9)
    assert sum(map(sum, best["confusion"])) == 2 * 110


def test_damaged_rows_are_pooled_as_the_clean_ones(swept: dict[str, Any], store: Path) -> None:
    best = swept["leaderboard"][0]
    (dropped,) = best["robustness"]
    assert dropped["name"] == "words-dropped-50%"
    rows: dict[int, list[dict[str, Any]]] = {}
    for folder in (store / "store" / "robustness").iterdir():
        model = json.loads((folder / "record.json").read_text("utf-8"))["reads"]["model"]
        if model in best["models"]:
            seed = best["models"].index(model) // 2
            rows.setdefault(seed, []).extend(pq.read_table(folder / "predictions.parquet").to_pylist())
    assert [len({row["uid"] for row in rows[seed]}) for seed in (0, 1)] == [110, 110]
    f1 = [
        f1_score([r["label"] for r in own], [int(np.argmax(r["probabilities"])) for r in own], average="weighted")
        for own in rows.values()
    ]
    assert dropped["score"] == pytest.approx(fmean(f1), abs=1e-9)
    assert dropped["change"] == pytest.approx(fmean(f1) - best["score"], abs=1e-9)


def test_trials_and_predictions_are_of_every_fold(swept: dict[str, Any], store: Path) -> None:
    (sweep,) = (store / "store" / "sweeps").iterdir()
    table = pq.read_table(sweep / "predictions.parquet").to_pydict()
    assert set(zip(table["number"], table["fold"], strict=True)) == {(n, f) for n in (0, 1) for f in (0, 1)}
    trials = pq.read_table(sweep / "trials.parquet").to_pydict()
    both = zip(trials["value/fold/0/weighted_f1"], trials["value/fold/1/weighted_f1"], strict=True)
    assert trials["value/weighted_f1"] == pytest.approx([fmean(pair) for pair in both])
    (confusion,) = sweep.glob("confusion-*.parquet")
    assert set(pq.read_table(confusion)["model"].to_pylist()) == {row["name"] for row in swept["leaderboard"]}


def test_ablations_are_laid_on_the_best_and_the_idle_ones_left_out(swept: dict[str, Any], store: Path) -> None:
    assert [(gain["of"], gain["over"]) for gain in swept["ablations"]] == [("best-1", "no-kd")]
    told = (store / "sweep.err").read_text("utf-8")
    assert "ablation same is left out: it changes nothing of best-1" in told


def test_an_ablation_alone_is_one_command_and_trains_nothing_twice(swept: dict[str, Any], store: Path) -> None:
    before = {path.name for path in (store / "store" / "models").iterdir()}
    alone = orch(store, "ablate")
    assert [row["name"] for row in alone["leaderboard"]] == ["default", "no-kd", "teacher-text"]
    assert alone["stages"]["sweep"]["skipped"] and alone["trials"]["total"] == 0
    default = next(row for row in swept["leaderboard"] if row["name"] == "default")
    assert alone["leaderboard"][0]["models"] == default["models"]
    after = {path.name for path in (store / "store" / "models").iterdir()}
    assert after - before <= set(alone["leaderboard"][1]["models"])
    (gain,) = alone["ablations"]
    assert [len(row["robustness"]) for row in alone["leaderboard"]] == [1, 1, 0]
    difference = alone["leaderboard"][0]["score"] - alone["leaderboard"][1]["score"]
    assert (gain["of"], gain["difference"]) == ("default", pytest.approx(difference, abs=1e-9))


def test_a_second_run_skips_everything(swept: dict[str, Any], store: Path) -> None:
    again = orch(store, "sweep", "--trials", "2")
    assert all(stage["skipped"] for stage in again["stages"].values())
    assert {k: v for k, v in again.items() if k != "stages"} == {k: v for k, v in swept.items() if k != "stages"}
