"""Suggestions and stops as functions of the trial records, without a cluster."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState
from ray.tune.execution.tune_controller import _get_max_pending_trials
from ray.tune.search import Searcher, SearchGenerator

from orchestrator.events import Observer, Report, TrialRecord
from orchestrator.experiment import Asha, ExperimentSpec
from orchestrator.journal import Journal
from orchestrator.launch.ledger import Ledger
from orchestrator.launch.losses import Loss
from orchestrator.launch.messages import reports_message
from orchestrator.launch.scheduler import JournalAsha, scheduler_for
from orchestrator.launch.searcher import JournalSearch, frozen, study_of, suggestion
from orchestrator.launch.sweep import pending
from orchestrator.scores import best_report, scores_by_epoch
from orchestrator.space import with_values
from tests.helpers.trials import Notes, experiment, score
from trainables.storage import Storage

UNTRIED: dict[str, Any] = {"state": "queued", "reports": [], "values": {}}
TWO = [{"metric": "weighted_f1"}, {"metric": "parameters", "direction": "min"}]


def epoch(number: int, value: float | None, phase: float = 1.0) -> Report:
    return Report(epoch=number, metrics={"phase": phase, **({} if value is None else {"dev/weighted_f1": value})})


def ended(record: TrialRecord, spec: ExperimentSpec) -> TrialRecord:
    """The record as a trial of the formula would leave it: every fourth is pruned, every fifth fails."""
    run = with_values(spec.run, {**record.params, **record.overrides})
    state = "failed" if record.number % 5 == 4 else "pruned" if record.number % 4 == 3 else "completed"
    epochs = {"failed": 1, "pruned": 3, "completed": 6}[state]
    reports = [epoch(e, score(run, e)) for e in range(1, epochs + 1)]
    values = {} if state == "failed" else {"weighted_f1": score(run, epochs)}
    return record.model_copy(update={"state": state, "reports": reports, "values": values})


def grown(spec: ExperimentSpec, trials: int, records: list[TrialRecord] | None = None) -> list[TrialRecord]:
    """A sweep of one trial at a time, from `records` on."""
    found = list(records or [])
    while len(found) < trials:
        found.append(ended(suggestion(spec, found, len(found)), spec))
    return found


def ledger(
    tmp_path: Path, spec: ExperimentSpec, records: list[TrialRecord], observer: Observer | None = None
) -> Ledger:
    journal = Journal(Storage(str(tmp_path / "sweep")))
    for record in records:
        journal.write(record)
    return Ledger(journal, observer or Observer(), spec.search, spec.run.metric)


def test_the_first_two_are_the_default_and_the_control() -> None:
    spec = experiment()
    default, control = grown(spec, 2)
    assert (default.role, control.role) == ("default", "control")
    assert with_values(spec.run, default.params) == spec.run
    assert control.params == {}
    assert with_values(spec.run, control.overrides).method.type == "supervised"


def test_a_supervised_experiment_needs_no_control() -> None:
    spec = experiment(space={"student.dropout": {"type": "float", "low": 0.0, "high": 0.5}})
    spec = spec.model_copy(update={"run": with_values(spec.run, {"method": {"type": "supervised"}})})
    assert [record.role for record in grown(spec, 3)] == ["default", "search", "search"]


def test_what_is_kept_of_ended_trials_changes_no_suggestion() -> None:
    spec, known = experiment(), dict[int, FrozenTrial]()
    records = grown(spec, 14)
    for number in range(8, 14):
        assert suggestion(spec, records[:number], number, known) == records[number].model_copy(update=UNTRIED)
    assert sorted(known) == [0, *range(2, 13)], "all but the control"


def test_the_same_records_give_the_same_suggestion_in_any_order() -> None:
    spec = experiment()
    records = grown(spec, 12)
    shuffled = random.Random(0).sample(records, len(records))
    assert suggestion(spec, shuffled, 12) == suggestion(spec, records, 12)


def test_a_sweep_gone_on_with_suggests_what_an_undisturbed_one_does() -> None:
    spec = experiment()
    whole = grown(spec, 14)
    stored = [TrialRecord.model_validate_json(record.model_dump_json()) for record in whole[:9]]
    assert [r.params for r in grown(spec, 14, stored)] == [r.params for r in whole]


def test_another_seed_suggests_something_else() -> None:
    assert grown(experiment(seed=1), 3)[2].params != grown(experiment(seed=2), 3)[2].params


def test_conditional_paths_are_suggested_only_under_their_condition() -> None:
    for record in grown(experiment(), 20)[2:]:
        assert ("method.phase_one" in record.params) == (record.params["method.phases"] == "two_phase")


def test_a_condition_on_a_fixed_value_of_the_run_holds_or_not_for_all() -> None:
    space = {"student.dropout": {"type": "float", "low": 0.0, "high": 0.5, "when": {"method.phases": "joint"}}}
    records = grown(experiment(space={**space, "training.clip": {"type": "float", "low": 0.5, "high": 2}}), 5)
    assert all("student.dropout" not in record.params for record in records)


CLASSES: dict[str, Any] = {
    "student.type": {"type": "choice", "values": ["audio_text_transformer", "cnn_lstm", "inverted_transformer"]},
    "student.width": {
        "type": "choice",
        "values": [16, 32],
        "when": {"student.type": ["audio_text_transformer", "inverted_transformer"]},
    },
    "student.filters": {"type": "int", "low": 4, "high": 8, "when": {"student.type": "cnn_lstm"}},
    "method.type": {"type": "choice", "values": ["cmd", "distil"]},
    "method.kd_weight.start": {"type": "float", "low": 0.1, "high": 0.9, "when": {"method.type": "cmd"}},
    "method.label_weight.start": {"type": "float", "low": 0.1, "high": 0.9, "when": {"method.type": "distil"}},
}


def test_classes_are_searched_with_the_paths_that_each_has() -> None:
    spec = experiment(space=CLASSES, scheduler={"type": "none"})
    records = grown(spec, 30)
    runs = [with_values(spec.run, {**record.params, **record.overrides}) for record in records]
    assert {run.student.type for run in runs} == set(CLASSES["student.type"]["values"])
    assert {run.method.type for run in runs} == {"supervised", "cmd", "distil"}
    for record in records[2:]:
        wanted = {"student.filters" if record.params["student.type"] == "cnn_lstm" else "student.width"}
        wanted |= {
            "method.kd_weight.start" if record.params["method.type"] == "cmd" else "method.label_weight.start"
        }
        assert set(record.params) == {"student.type", "method.type", *wanted}
        shuffled = dict(reversed(record.params.items()))
        assert with_values(spec.run, shuffled) == with_values(spec.run, record.params)
    assert records[0].params == {"student.type": "audio_text_transformer", "method.type": "cmd",
                                 "method.kd_weight.start": 0.5}  # fmt: skip


def test_the_search_closes_in_on_the_best() -> None:
    spec = experiment(scheduler={"type": "none"}, startup_trials=8)
    records = grown(spec, 40)
    late = [r.values["weighted_f1"] for r in records[25:] if r.values]
    early = [r.values["weighted_f1"] for r in records[2:10] if r.values]
    assert sum(late) / len(late) > sum(early) / len(early)


def test_states_in_the_study() -> None:
    spec = experiment()
    reports = [epoch(1, 0.9, phase=0.0), epoch(2, 0.3), epoch(3, 0.2)]
    states = {"completed": (TrialState.COMPLETE, 0.3), "pruned": (TrialState.PRUNED, None),
              "failed": (TrialState.FAIL, None), "running": (TrialState.RUNNING, None)}  # fmt: skip
    for state, (expected, value) in states.items():
        record = TrialRecord(number=2, role="search", params={}, reports=reports, state=state,
                             values={"weighted_f1": 0.3} if state == "completed" else {})  # fmt: skip
        trial = frozen(spec.search, record, "weighted_f1")
        assert (trial.state, trial.value) == (expected, value)
        assert trial.intermediate_values == ({2: 0.3, 3: 0.3} if state == "pruned" else {})


def test_completed_without_its_objective_counts_as_failed() -> None:
    spec = experiment(objectives=TWO)
    record = TrialRecord(number=2, role="search", params={}, state="completed", values={"weighted_f1": 0.5})
    assert frozen(spec.search, record, "weighted_f1").state == TrialState.FAIL


def test_the_control_is_not_part_of_the_study() -> None:
    records = grown(experiment(), 6)
    study = study_of(experiment().search, records, "weighted_f1")
    assert [trial.user_attrs["number"] for trial in study.trials] == [0, 2, 3, 4, 5]


def test_several_objectives_are_searched_with_pruned_trials_among_them() -> None:
    spec = experiment(objectives=TWO)
    records = grown(spec, 2)
    for number in range(2, 14):
        record = ended(suggestion(spec, records, number), spec)
        values = {"weighted_f1": 0.5, "parameters": 1000.0 + number} if record.state == "completed" else {}
        records.append(record.model_copy(update={"values": values}))
    study = study_of(spec.search, records, "weighted_f1")
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [trial.values for trial in study.best_trials] == [[0.5, 1002.0]]


def test_a_default_off_its_range_is_run_but_not_told() -> None:
    spec = experiment(space={"student.dropout": {"type": "float", "low": 0.3, "high": 0.5}})
    default = suggestion(spec, [], 0)
    assert default.params == {}
    assert with_values(spec.run, default.params).student.dropout == spec.run.student.dropout


def test_best_epoch_is_the_earliest_best_that_counts() -> None:
    reports = [epoch(1, 0.9, phase=0.0), epoch(2, 0.4), epoch(3, 0.5), epoch(4, 0.5), epoch(5, None)]
    best = best_report(reports, "weighted_f1")
    assert best is not None and best.epoch == 3
    assert scores_by_epoch(reports, "weighted_f1", "weighted_f1") == {2: 0.4, 3: 0.5, 4: 0.5, 5: 0.5}
    assert best_report(reports[:1], "weighted_f1") is None


def test_search_hands_out_unfinished_trials_first_and_never_too_many(tmp_path: Path) -> None:
    spec = experiment()
    records = grown(spec, 4)
    records[2] = records[2].model_copy(update={"state": "running", "attempts": 1})
    book = ledger(tmp_path, spec, records)
    search = JournalSearch(book, spec, 6, 2)
    assert search.remaining == 3
    first, second = search.suggest("a"), search.suggest("b")
    assert isinstance(first, dict) and isinstance(second, dict)
    assert (first["number"], first["params"]) == (2, records[2].params)
    assert (second["number"], book.records[4].state) == (4, "queued")
    assert search.suggest("c") is None
    book.finish(2, "failed", "diverged")
    search.on_trial_complete("a")
    third = search.suggest("c")
    assert isinstance(third, dict) and third["number"] == 5
    search.on_trial_complete("b", error=True)
    book.lose(4, Loss("its process was lost"))
    again = search.suggest("d")
    assert isinstance(again, dict) and again["number"] == 4
    book.finish(4, "completed", values={"weighted_f1": 0.5})
    search.on_trial_complete("d")
    assert search.suggest("e") is None, "trial 5 may still be lost"
    book.finish(5, "completed", values={"weighted_f1": 0.5})
    search.on_trial_complete("c")
    assert search.suggest("e") == Searcher.FINISHED
    assert sorted(book.records) == list(range(6))


def test_search_hands_out_nothing_more_once_the_sweep_is_to_end(tmp_path: Path) -> None:
    spec = experiment()
    book = ledger(tmp_path, spec, grown(spec, 4))
    book.closing = True
    assert JournalSearch(book, spec, 6, 2).suggest("a") == Searcher.FINISHED


def test_a_ledger_queues_what_a_killed_driver_left_running(tmp_path: Path) -> None:
    spec, notes = experiment(), Notes()
    records = grown(spec, 3)
    records[2] = records[2].model_copy(update={"state": "running"})
    book = ledger(tmp_path, spec, records, notes)
    assert notes.states == [(2, "queued")]
    assert [r.state for r in Journal(Storage(str(tmp_path / "sweep"))).read()] == [
        "completed",
        "completed",
        "queued",
    ]
    book.start(2)
    assert (book.records[2].attempts, book.records[2].state) == (1, "running")


def test_epochs_told_again_replace_the_first_telling(tmp_path: Path) -> None:
    spec, notes = experiment(), Notes()
    book = ledger(tmp_path, spec, [TrialRecord(number=0, role="default", params={})], notes)
    book.report(0, [epoch(1, 0.1), epoch(2, 0.2), epoch(3, 0.3)])
    book.report(0, [epoch(2, 0.2)])
    assert [r.epoch for r in book.records[0].reports] == [1, 2, 3]
    book.report(0, [epoch(2, 0.25), epoch(3, 0.35)])
    assert [r.metrics["dev/weighted_f1"] for r in book.records[0].reports] == [0.1, 0.25, 0.35]
    assert notes.epochs == [(0, 1), (0, 2), (0, 3), (0, 2), (0, 3)]


def asha(tmp_path: Path, records: list[TrialRecord]) -> JournalAsha:
    spec = experiment()
    scheduler = scheduler_for(ledger(tmp_path, spec, records), spec)
    assert isinstance(scheduler, JournalAsha)
    return scheduler


def decide(scheduler: JournalAsha, number: int, *reports: Report) -> str:
    trial: Any = SimpleNamespace(config={"number": number})
    result = reports_message(reports)
    decision = scheduler.on_trial_result(None, trial, result)
    scheduler._ledger.report(number, reports)
    return decision


def trials(count: int) -> list[TrialRecord]:
    roles = ["default", "control", *["search"] * count]
    return [TrialRecord(number=n, role=roles[n], params={}) for n in range(count)]


def test_asha_stops_a_searched_trial_below_the_cut(tmp_path: Path) -> None:
    scheduler = asha(tmp_path, trials(4))
    assert decide(scheduler, 2, epoch(3, 0.8)) == "CONTINUE"
    assert decide(scheduler, 3, epoch(2, 0.1)) == "CONTINUE"
    assert decide(scheduler, 3, epoch(3, 0.1)) == "STOP"
    assert scheduler._ledger.reasons == {3: "stopped by ASHA at epoch 3"}


def test_asha_judges_by_the_best_epoch_so_far(tmp_path: Path) -> None:
    scheduler = asha(tmp_path, trials(4))
    decide(scheduler, 2, epoch(3, 0.5))
    decide(scheduler, 3, epoch(2, 0.6))
    assert decide(scheduler, 3, epoch(3, 0.1)) == "CONTINUE"


@pytest.mark.parametrize(("number", "role"), [(0, "default"), (1, "control")])
def test_asha_never_stops_the_fixed_trials(tmp_path: Path, number: int, role: str) -> None:
    scheduler = asha(tmp_path, trials(4))
    decide(scheduler, 2, epoch(3, 0.8))
    decide(scheduler, 3, epoch(3, 0.9))
    assert scheduler._ledger.records[number].role == role
    assert decide(scheduler, number, epoch(3, 0.0)) == "CONTINUE"


def test_the_control_fills_no_rung(tmp_path: Path) -> None:
    scheduler = asha(tmp_path, trials(4))
    decide(scheduler, 1, epoch(3, 0.99))
    assert decide(scheduler, 2, epoch(3, 0.1)) == "CONTINUE"


def test_asha_waits_for_epochs_that_count(tmp_path: Path) -> None:
    scheduler = asha(tmp_path, trials(4))
    decide(scheduler, 2, epoch(3, 0.8))
    assert decide(scheduler, 3, epoch(3, 0.1, phase=0.0)) == "CONTINUE"


def test_the_last_epoch_is_no_rung(tmp_path: Path) -> None:
    spec = experiment(epochs=3)
    scheduler = JournalAsha(ledger(tmp_path, spec, trials(4)), spec, Asha(grace_epochs=3, reduction=2))
    decide(scheduler, 2, epoch(3, 0.8))
    assert decide(scheduler, 3, epoch(3, 0.1)) == "CONTINUE"


def test_rungs_are_filled_from_the_records(tmp_path: Path) -> None:
    before = trials(4)
    before[2] = before[2].model_copy(
        update={"reports": [epoch(e, e / 10) for e in (1, 2, 3)], "state": "completed"}
    )
    scheduler = asha(tmp_path, before)
    assert decide(scheduler, 3, epoch(3, 0.2)) == "STOP"
    assert decide(asha(tmp_path, before), 3, epoch(3, 0.4)) == "CONTINUE"


@pytest.mark.parametrize("objectives", [[TWO[1]], TWO], ids=["told at the end alone", "a Pareto front"])
def test_nothing_is_stopped_by_a_score_that_does_not_decide(objectives: list[Any], tmp_path: Path) -> None:
    spec = experiment(objectives=objectives)
    assert not isinstance(scheduler_for(ledger(tmp_path, spec, []), spec), JournalAsha)


def test_as_many_trials_wait_for_their_processes_as_may_run(tmp_path: Path) -> None:
    spec = experiment()
    search = SearchGenerator(JournalSearch(ledger(tmp_path, spec, []), spec, 9, 5))
    assert _get_max_pending_trials(search) == 1, "Tune's own choice, which this is there to change"
    with pending(5):
        assert _get_max_pending_trials(search) == 5
    assert _get_max_pending_trials(search) == 1
