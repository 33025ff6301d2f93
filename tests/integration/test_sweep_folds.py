"""A cross-validated sweep on Ray, its trials by formula: steps over folds, early stops, a lost process, repeats."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import fmean

import pytest

from orchestrator.events import TrialRecord
from orchestrator.experiment import ExperimentSpec
from orchestrator.launch.placement import Cluster
from orchestrator.launch.sweep import SweepPlan, run_sweep
from orchestrator.space import with_values
from tests.helpers.trials import Notes, experiment, fold_score, fold_work

EPOCHS, FOLDS, TRIALS = 6, 3, 10


def spec() -> ExperimentSpec:
    return experiment(corpus={"folds": FOLDS}, epochs=EPOCHS)


def sweep(folder: Path, trials: int = TRIALS) -> list[TrialRecord]:
    (folder / "cache").mkdir(parents=True, exist_ok=True)
    sets = tuple(str(fold) * 16 for fold in range(FOLDS))
    plan = SweepPlan(spec(), str(folder / "store"), "sweeps/folds", sets, str(folder / "cache"), trials, 2)
    return run_sweep(plan, Notes(), work=fold_work)


def begun(folder: Path) -> Counter[tuple[int, int, int]]:
    """How often each (trial, fold, epoch) was begun."""
    lines = (folder / "cache" / "folds.log").read_text("utf-8").splitlines()
    return Counter((int(a), int(b), int(c)) for a, b, c in (line.split() for line in lines))


def expected(record: TrialRecord, fold: int) -> float:
    run = with_values(spec().run, {**record.params, **record.overrides})
    last = 4 if (record.number, fold) == (1, 0) else EPOCHS
    return fold_score(run.model_copy(update={"fold": fold}), last)


def test_trials_over_folds_are_told_stopped_and_gone_on_with(cluster: Cluster, tmp_path: Path) -> None:
    records = sweep(tmp_path)
    log = begun(tmp_path)
    assert {record.state for record in records} == {"completed", "pruned"}
    for record in records:
        if record.state == "completed":
            each = [expected(record, fold) for fold in range(FOLDS)]
            assert record.values["weighted_f1"] == pytest.approx(fmean(each))
            assert [record.values[f"fold/{fold}/weighted_f1"] for fold in range(FOLDS)] == pytest.approx(each)
            assert record.epochs == EPOCHS * FOLDS
        else:  # the rungs of 18 steps are 3, 6 and 12: within the first fold, and the end of the second
            assert record.epochs in (3, 6, 12)
            fold, epoch = divmod(record.epochs - 1, EPOCHS)
            assert record.reason == f"stopped by ASHA at fold {fold + 1} of 3, epoch {epoch + 1}"
            assert max(key[1] for key in log if key[0] == record.number) <= fold + 1
        steps = [report.epoch for report in record.reports]
        assert steps == sorted(set(steps))
    for number in range(TRIALS):
        assert records[number].attempts == (2 if number == 0 else 1)
    assert [key for key, count in log.items() if count > 1] == [(0, 1, 2)]  # not the fold that had ended
    assert [report.epoch for report in records[1].reports][:6] == [1, 2, 3, 4, 6, 7]


def test_more_trials_go_on_from_the_rungs_of_those_before(cluster: Cluster, tmp_path: Path) -> None:
    before = sweep(tmp_path, 4)
    after = sweep(tmp_path, 6)
    assert after[:4] == before
    assert [record.finished for record in after] == [True] * 6
