"""A trial over folds: its steps, its score, what a checkpoint keeps, and when it may be stopped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.errors import ExperimentError
from orchestrator.events import Report, TrialRecord
from orchestrator.experiment import ExperimentSpec
from orchestrator.journal import Journal, predictions_key
from orchestrator.launch.folds import work_over_folds
from orchestrator.launch.ledger import Ledger
from orchestrator.launch.messages import reports_message
from orchestrator.launch.scheduler import JournalAsha, scheduler_for
from orchestrator.launch.trial import TrialJob
from orchestrator.scores import over_folds, score_of, scores_by_epoch, values_at
from tests.helpers.runs import KeepingReporter, small_run, without_seconds
from tests.helpers.transfer_sets import synthetic
from tests.helpers.trials import Notes, experiment
from trainables.reporter import Reporter
from trainables.run import train
from trainables.spec import RunSpec
from trainables.storage import Storage

EPOCHS = 4


class KilledError(Exception):
    """The process of a trial, lost."""


class KillingReporter(KeepingReporter):
    """Loses the process at a step."""

    kill_at: int = 0

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        super().report(epoch, metrics)
        if epoch == self.kill_at:
            raise KilledError


def folded(**search: Any) -> ExperimentSpec:
    return experiment(corpus={"folds": 3}, epochs=EPOCHS, **search)


def job(spec: ExperimentSpec) -> TrialJob:
    return TrialJob(
        run=spec.run, objectives=spec.search.objectives, storage="/nowhere", sweep="s",
        transfer_sets=["a", "b", "c"], cache="", resources=spec.resources.trial,
    )  # fmt: skip


def training(lengths: Mapping[int, int], done: list[tuple[int, int]], save: bool = True) -> Any:
    """Epochs of a fold up to its length, each saved, its score (fold + 1) / 10 + epoch / 100; `done` lists them."""

    def work(job: TrialJob, run: RunSpec, number: int, reporter: Reporter) -> dict[str, float]:
        assert run.fold is not None
        with TemporaryDirectory() as name:
            state = Path(name) / "epoch"
            start = int(state.read_text("utf-8")) if reporter.restore(Path(name)) else 0
            for epoch in range(start + 1, lengths.get(run.fold, EPOCHS) + 1):
                done.append((run.fold, epoch))
                reporter.report(epoch, {"dev/weighted_f1": value(run.fold, epoch), "epoch": float(epoch)})
                if save:
                    state.write_text(str(epoch), "utf-8")
                    reporter.save(Path(name))
        return {"weighted_f1": value(run.fold, lengths.get(run.fold, EPOCHS))}

    return work


def value(fold: int, epoch: int) -> float:
    return (fold + 1) / 10 + epoch / 100


def test_steps_go_on_over_folds_and_a_fold_that_ended_early_jumps_to_its_end(tmp_path: Path) -> None:
    reporter, done = KeepingReporter(kept=tmp_path / "kept"), list[tuple[int, int]]()
    spec = folded()
    found = work_over_folds(job(spec), spec.run, 3, reporter, training({1: 2}, done))
    assert [step for step, _ in reporter.reports] == [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12]
    assert [metrics["fold"] for _, metrics in reporter.reports] == [0] * 4 + [1] * 3 + [2] * 4
    assert reporter.reports[6][1] == {"fold": 1, "ended_at": 2}
    each = [value(0, 4), value(1, 2), value(2, 4)]
    assert found == pytest.approx(
        {"weighted_f1": fmean(each), "weighted_f1/sd": stdev(each)}
        | {f"fold/{fold}/weighted_f1": one for fold, one in enumerate(each)}
    )


def test_one_split_is_as_it_always_was(tmp_path: Path) -> None:
    spec, reporter = experiment(epochs=2), KeepingReporter(kept=tmp_path / "kept")

    def work(job: TrialJob, run: RunSpec, number: int, given: Reporter) -> dict[str, float]:
        assert given is reporter and run == spec.run
        return {"weighted_f1": 0.5}

    given = job(spec).model_copy(update={"transfer_sets": ["a"]})
    assert work_over_folds(given, spec.run, 0, reporter, work) == {"weighted_f1": 0.5}
    assert given.transfer_set(None) == "a"
    assert (reporter.reports, reporter.saves) == ([], 0)


@pytest.mark.parametrize("kill_at", [6, 5, 4, 2])
def test_a_trial_that_was_lost_goes_on_in_the_fold_where_it_stood(tmp_path: Path, kill_at: int) -> None:
    """The epoch at whose end it was lost was not saved and runs again; no other does, and nothing is lost."""
    spec, done = folded(), list[tuple[int, int]]()
    lost = KillingReporter(kept=tmp_path / "kept")
    lost.kill_at = kill_at
    with pytest.raises(KilledError):
        work_over_folds(job(spec), spec.run, 3, lost, training({}, done))
    reporter = KeepingReporter(kept=tmp_path / "kept")
    found = work_over_folds(job(spec), spec.run, 3, reporter, training({}, done))
    twice = divmod(kill_at - 1, EPOCHS)
    assert sorted(done) == sorted([(f, e) for f in range(3) for e in range(1, 5)] + [(twice[0], twice[1] + 1)])
    alone = work_over_folds(job(spec), spec.run, 3, KeepingReporter(kept=tmp_path / "b"), training({}, []))
    assert found == alone


def test_a_student_lost_within_a_fold_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """The loop's own checkpoints, through the reporter of folds; two folds on the same rows differ in nothing."""
    data = synthetic(tmp_path, n=60)
    run = small_run(corpus={"type": "standin", "folds": 2})

    def work(job: TrialJob, run: RunSpec, number: int, reporter: Reporter) -> dict[str, float]:
        return {"weighted_f1": train(run, data, reporter, threads=1, checkpoint_every_seconds=0).score}

    given = job(folded())
    lost = KillingReporter(kept=tmp_path / "kept")
    lost.kill_at = 5
    with pytest.raises(KilledError):
        work_over_folds(given, run, 0, lost, work)
    again = KeepingReporter(kept=tmp_path / "kept")
    resumed = work_over_folds(given, run, 0, again, work)
    assert [step for step, _ in again.reports] == [5, 6]
    alone = KeepingReporter(kept=tmp_path / "alone")
    assert resumed == work_over_folds(given, run, 0, alone, work)
    assert without_seconds([m for _, m in again.reports]) == without_seconds([m for _, m in alone.reports[4:]])


def test_finished_folds_are_not_trained_again_also_where_a_fold_saves_nothing(tmp_path: Path) -> None:
    spec, done = folded(), list[tuple[int, int]]()
    lost = KillingReporter(kept=tmp_path / "kept")
    lost.kill_at = 2 * EPOCHS + 1
    with pytest.raises(KilledError):
        work_over_folds(job(spec), spec.run, 3, lost, training({0: 2}, done, save=False))
    reporter = KeepingReporter(kept=tmp_path / "kept")
    work_over_folds(job(spec), spec.run, 3, reporter, training({0: 2}, done, save=False))
    assert [fold for fold, _ in done].count(0) == 2
    assert [fold for fold, _ in done].count(1) == EPOCHS
    assert [step for step, _ in reporter.reports] == [9, 10, 11, 12]


def test_only_the_first_worker_keeps_what_is_finished(tmp_path: Path) -> None:
    spec, reporter = folded(), KeepingReporter(kept=tmp_path / "kept")
    work_over_folds(job(spec), spec.run, 3, reporter, training({}, [], save=False), first=False)
    assert reporter.saves == 0


def test_each_fold_has_its_own_transfer_set() -> None:
    assert [job(folded()).transfer_set(fold) for fold in range(3)] == ["a", "b", "c"]


def told(step: int, score: float | None) -> Report:
    metrics = {"fold": float((step - 1) // EPOCHS)}
    return Report(epoch=step, metrics=metrics if score is None else {**metrics, "dev/weighted_f1": score})


REPORTS = [told(1, 0.2), told(2, 0.4), told(4, None), told(5, 0.1), told(6, 0.6), told(9, 0.3)]


def test_the_score_at_a_step_is_the_mean_over_folds_of_the_best_so_far() -> None:
    found = scores_by_epoch(REPORTS, "weighted_f1", "weighted_f1")
    assert found == pytest.approx({1: 0.2, 2: 0.4, 4: 0.4, 5: 0.25, 6: 0.5, 9: 1.3 / 3})
    values = values_at(REPORTS[:3], "weighted_f1", ["weighted_f1"])
    assert values == {"weighted_f1": 0.4, "fold/0/weighted_f1": 0.4}


def test_an_epoch_that_does_not_count_leaves_its_fold_out() -> None:
    silent = Report(epoch=5, metrics={"fold": 1.0, "phase": 0.0, "dev/weighted_f1": 0.9})
    assert score_of([*REPORTS[:3], silent], "weighted_f1", "weighted_f1") == 0.4


def test_over_folds() -> None:
    assert over_folds([]) == {}
    assert over_folds([{"a": 0.5}]) == {"a": 0.5, "fold/0/a": 0.5}
    assert over_folds([{"a": 0.25}, {"a": 0.75}])["a/sd"] == pytest.approx(stdev([0.25, 0.75]))


def asha(folder: Path, records: list[TrialRecord]) -> JournalAsha:
    spec = folded(scheduler={"type": "asha", "grace_epochs": 2, "reduction": 2})
    journal = Journal(Storage(str(folder)))
    for record in records:
        journal.write(record)
    scheduler = scheduler_for(Ledger(journal, Notes(), spec.search, "weighted_f1"), spec)
    assert isinstance(scheduler, JournalAsha)
    return scheduler


def decide(scheduler: JournalAsha, number: int, *reports: Report) -> str:
    trial: Any = SimpleNamespace(config={"number": number})
    decision = scheduler.on_trial_result(None, trial, reports_message(reports))
    scheduler._ledger.report(number, reports)
    return decision


def searched(*numbers: int) -> list[TrialRecord]:
    return [TrialRecord(number=number, role="search", params={}) for number in numbers]


def test_asha_judges_by_epochs_in_the_first_fold(tmp_path: Path) -> None:
    """Rungs 2, 4 and 8 of 12 steps."""
    scheduler = asha(tmp_path, searched(0, 1))
    assert decide(scheduler, 0, told(2, 0.8)) == "CONTINUE"
    assert decide(scheduler, 1, told(1, 0.1)) == "CONTINUE"
    assert decide(scheduler, 1, told(2, 0.1)) == "STOP"
    assert scheduler._ledger.reasons == {1: "stopped by ASHA at fold 1 of 3, epoch 2"}


def test_asha_judges_later_folds_at_their_ends_alone(tmp_path: Path) -> None:
    scheduler = asha(tmp_path, searched(0, 1))
    for step, score in ((2, 0.5), (4, 0.5), (8, 0.7)):
        assert decide(scheduler, 0, told(step, score)) == "CONTINUE"
    for step, score in ((2, 0.6), (4, 0.6), (5, 0.01), (6, 0.02), (7, 0.03)):
        assert decide(scheduler, 1, told(step, score)) == "CONTINUE"
    assert decide(scheduler, 1, told(8, None)) == "STOP"  # the mean of 0.6 and 0.03 against that of 0.5 and 0.7
    assert scheduler._ledger.reasons == {1: "stopped by ASHA at fold 2 of 3, epoch 4"}


def test_a_fold_that_ended_early_is_judged_at_its_rungs_by_what_it_had(tmp_path: Path) -> None:
    scheduler = asha(tmp_path, searched(0, 1))
    decide(scheduler, 0, told(2, 0.3), told(3, 0.4), told(4, 0.5))
    decide(scheduler, 1, told(2, 0.31), told(3, 0.3))
    assert decide(scheduler, 1, told(4, None)) == "STOP"


def test_rungs_over_folds_are_filled_from_the_records(tmp_path: Path) -> None:
    before = [one.model_copy(update={"reports": REPORTS, "state": "completed"}) for one in searched(0)]
    scheduler = asha(tmp_path, [*before, *searched(1)])
    assert decide(scheduler, 1, told(2, 0.39)) == "STOP"
    assert decide(asha(tmp_path, [*before, *searched(1)]), 1, told(2, 0.41)) == "CONTINUE"


@pytest.mark.parametrize(
    ("search", "fault"),
    [
        ({"scheduler": {"type": "asha", "grace_epochs": 5}}, "beyond the 4 epochs of the first of 3 folds"),
        ({"space": {"training.epochs": {"type": "int", "low": 4, "high": 8}}}, "count whole folds"),
    ],
)
def test_a_scheduler_that_compares_nothing_over_folds_is_refused(search: dict[str, Any], fault: str) -> None:
    with pytest.raises(ExperimentError, match=fault):
        folded(**search)
    assert folded(**{**search, "scheduler": {"type": "none"}}).run.folds == (0, 1, 2)


def test_predictions_of_every_fold_are_kept_with_its_number(tmp_path: Path) -> None:
    journal = Journal(Storage(str(tmp_path / "sweep")))
    journal.write(TrialRecord(number=7, role="search", params={}, state="completed"))
    journal.write(TrialRecord(number=8, role="search", params={}, state="pruned"))
    for number, fold in ((7, 1), (7, 0), (8, 0)):
        pq.write_table(pa.table({"uid": [f"u{fold}"], "logits": [[0.0, 1.0]]}), tmp_path / "one.parquet")
        journal.storage.upload(tmp_path / "one.parquet", predictions_key(number, fold))
    assert "predictions.parquet" in journal.seal()
    table = pq.read_table(tmp_path / "sweep" / "predictions.parquet").to_pydict()
    assert (table["number"], table["fold"], table["uid"]) == ([7, 7], [0, 1], ["u0", "u1"])
