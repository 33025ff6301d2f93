"""Which configurations are confirmed, and that the controls differ in what they are to show and in nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from orchestrator.candidates import candidates, default_failure, ranked
from orchestrator.errors import StageError
from orchestrator.events import TrialRecord
from orchestrator.experiment import ExperimentSpec, Objective, load
from orchestrator.space import get_path


def spec() -> ExperimentSpec:
    return load("cmd-meld", sets=["confirm.top=2"])


def trial(
    number: int, value: float | None, role: str = "search", params: Mapping[str, object] | None = None
) -> TrialRecord:
    state = "completed" if value is not None else "failed"
    values = {} if value is None else {"weighted_f1": value}
    return TrialRecord.model_validate(
        {"number": number, "role": role, "params": params or {}, "state": state, "values": values, "reason": "why"}
    )


def trials() -> list[TrialRecord]:
    return [
        trial(0, 0.50, "default"),
        trial(1, 0.99, "control"),
        trial(2, 0.60, params={"student.token_init": "teacher", "student.token_training": "frozen"}),
        trial(3, 0.60, params={"training.learning_rate": 0.002}),
        trial(4, None),
        trial(5, 0.60, params={"training.learning_rate": 0.002}),
    ]


@pytest.mark.parametrize(("direction", "order"), [("max", [2, 3, 5, 0]), ("min", [0, 2, 3, 5])])
def test_trials_are_ranked_by_dev_without_controls_and_failures(direction: str, order: list[int]) -> None:
    objective = Objective.model_validate({"direction": direction})
    assert [t.number for t in ranked(trials(), [objective])] == order


def test_several_objectives_leave_the_pareto_front() -> None:
    """Score up, size down: 1 is beaten in both by 0, 3 equals 2 and stays, 4 is small and weak but not beaten."""
    table = [(0.60, 100.0), (0.55, 120.0), (0.70, 300.0), (0.70, 300.0), (0.30, 10.0), (0.69, 310.0)]
    found = [
        TrialRecord(
            number=number,
            role="search",
            params={},
            state="completed",
            values={"weighted_f1": f1, "parameters": size},
        )
        for number, (f1, size) in enumerate(table)
    ]
    objectives = [Objective(), Objective(metric="parameters", direction="min")]
    assert [t.number for t in ranked(found, objectives)] == [2, 3, 0, 4]


def test_equal_configurations_are_confirmed_once_and_every_role_is_there() -> None:
    found = candidates(spec(), trials())
    assert [(c.name, c.trial) for c in found] == [
        ("best-1", 2),
        ("best-2", 3),
        ("default", 0),
        ("no-teacher", None),
        ("audio-only", None),
        ("text-only", None),
    ]


def test_the_control_has_nothing_of_its_teachers_and_everything_else_of_the_best() -> None:
    by_name = {c.name: c.run for c in candidates(spec(), trials())}
    best, control = by_name["best-1"], by_name["no-teacher"]
    assert control.method.type == "supervised"
    assert get_path(control, "student.token_init") == "random"
    assert control.training == best.training
    changed = {"token_init": "random", "token_training": "trained"}
    assert control.student == best.student.model_copy(update=changed)


def test_unimodal_students_keep_all_but_the_other_modality() -> None:
    by_name = {c.name: c.run for c in candidates(spec(), trials())}
    best, audio = by_name["best-1"], by_name["audio-only"]
    assert audio.student == best.student.model_copy(update={"modalities": ("audio",)})
    assert audio.method == best.method


def test_confirmed_seeds_are_no_trial_s() -> None:
    runs = candidates(spec(), trials())[0].runs(3)
    assert [run.seed for run in runs] == [1000, 1001, 1002]


def test_nothing_to_confirm_says_why() -> None:
    with pytest.raises(StageError, match=r"no trial of the sweep was completed.*why"):
        candidates(spec(), [trial(0, None, "default")])


def test_a_default_that_failed_is_not_trained_again() -> None:
    failed = trial(0, None, "default")
    found = [candidate.name for candidate in candidates(spec(), [failed, *trials()[1:]])]
    assert found == ["best-1", "best-2", "no-teacher", "audio-only", "text-only"]
    assert default_failure([failed, *trials()[1:]]) == "why"
    assert default_failure(trials()) == ""
