"""Which configurations are confirmed, and that the controls differ in what they are to show and in nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from orchestrator.candidates import ablations, candidates, default_candidate, default_failure, ranked, unimodal
from orchestrator.errors import StageError
from orchestrator.events import TrialRecord
from orchestrator.experiment import ExperimentSpec, Objective, load
from orchestrator.leaderboard import Candidate
from orchestrator.model_ids import confirmed_models, model_fingerprint
from orchestrator.space import get_path
from trainables.spec import RunSpec
from trainables.spec.method import Teaching


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


def best(**run: object) -> Candidate:
    return Candidate("best-1", "best", RunSpec.model_validate(run), {"training.clip": 2.0})


def test_a_student_of_one_modality_has_no_unimodal_row() -> None:
    audio = {"type": "inverted_transformer"}
    assert unimodal(best(student=audio, method={"type": "supervised"})) == []


@pytest.mark.parametrize(
    ("method", "left"),
    [
        ({"type": "supervised"}, "supervised"),
        ({"type": "contrastive_regularisation"}, "supervised"),
        ({"type": "distil", "terms": {"pairs": {"enabled": True}, "kd": {"enabled": True}}}, "distil"),
        ({"type": "cmd"}, "cmd"),
    ],
)
def test_what_pairs_two_modalities_falls_away_with_one(method: dict[str, object], left: str) -> None:
    found = unimodal(best(student={"type": "cnn_lstm"}, method=method))
    assert [one.name for one in found] == ["audio-only", "text-only"]
    assert [one.run.student.modalities for one in found] == [("audio",), ("text",)]
    for one in found:
        assert one.run.method.type == left
        terms = one.run.method.terms.enabled if isinstance(one.run.method, Teaching) else ()
        assert [name for name, _ in terms] == (["kd"] if left == "distil" else [])


def test_a_modality_that_lacks_what_the_method_reads_is_left_out() -> None:
    """The best is the text teacher, and the contrast of an audio student would need one of audio."""
    teachers = {"audio": None, "fusion": None}
    method = {"type": "cmd", "self_weight": 0.0, "cross_weight": 0.0}
    kept = unimodal(best(teachers=teachers, method=method))
    assert [one.name for one in kept] == ["audio-only", "text-only"]
    hints = {"type": "distil", "terms": {"hint": {"enabled": True}}}
    assert [one.name for one in unimodal(best(teachers=teachers, method=hints))] == ["text-only"]


def test_a_best_without_teachers_is_its_own_control() -> None:
    alone = spec().model_copy(update={"run": RunSpec.model_validate({"method": {"type": "supervised"}})})
    assert "no-teacher" not in {c.name for c in candidates(alone, [trial(0, 0.5, "default")])}


ABLATIONS = {
    "no-kd": {"method.kd_weight": 0.0},
    "text": {"student.modalities": ["text"]},
    "idle": {"method.type": "cmd", "student.modalities": ["audio", "text"]},
    "other": {"student.filters": 4},
    "rated": {"training.targets": "votes"},
}


def ablated() -> ExperimentSpec:
    found = spec()
    return found.model_copy(update={"confirm": found.confirm.model_copy(update={"ablations": ABLATIONS})})


def test_ablations_are_laid_on_the_base_with_all_else_of_it() -> None:
    base = candidates(ablated(), trials())[0]
    found, left_out = ablations(ablated(), base)
    assert [(one.name, one.role) for one in found] == [("no-kd", "ablation"), ("text", "ablation")]
    no_kd, text = (one.run for one in found)
    assert no_kd.student == base.run.student and no_kd.training == base.run.training
    assert get_path(no_kd, "method.kd_weight.start") == 0
    assert text.student == base.run.student.model_copy(update={"modalities": ("text",)})
    assert found[0].params == {**base.params, "method.kd_weight": 0.0}
    assert left_out == [
        "ablation idle is left out: it changes nothing of best-1",
        "ablation other is left out: path 'student.filters': no field 'filters'; fields are "
        + ", ".join(sorted(type(base.run.student).model_fields)),
        left_out[2],
    ]
    assert left_out[2].startswith("ablation rated is left out: ") and "keeps no votes" in left_out[2]


def test_without_a_search_ablations_are_laid_on_the_default() -> None:
    base = default_candidate(ablated())
    assert (base.run, base.role) == (spec().run, "default")
    assert [one.name for one in ablations(ablated(), base)[0]] == ["no-kd", "text"]


def test_every_seed_and_fold_is_a_model_of_its_own() -> None:
    one = Candidate("a", "best", RunSpec.model_validate({"corpus": {"type": "standin", "folds": 3}}), {})
    jobs, by_name = confirmed_models([one], 2, {0: "x", 1: "y", 2: "z"}, 4)
    models = [jobs[fp] for fp in by_name["a"]]
    assert [(m.run.seed, m.run.fold, m.transfer_set) for m in models] == [
        (seed, fold, transfer) for seed in (1000, 1001) for fold, transfer in enumerate("xyz")
    ]
    assert len(jobs) == 6
    assert all(fp == model_fingerprint(m.run, m.transfer_set, 4) for fp, m in jobs.items())


def test_the_models_of_one_split_keep_their_identity() -> None:
    one = Candidate("a", "best", RunSpec(), {})
    jobs, by_name = confirmed_models([one], 1, {None: "x"}, 4)
    assert by_name["a"] == [model_fingerprint(RunSpec(seed=1000), "x", 4)] == list(jobs)
