"""Distributions, conditions, dotted paths and corners of a search space."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from orchestrator.errors import ExperimentError
from orchestrator.space import (
    Choice,
    Float,
    Int,
    Space,
    active,
    corners,
    default_point,
    get_path,
    ordered,
    with_values,
)
from trainables.spec import CMD, RunSpec, Supervised
from trainables.spec.student import CnnLstm

SPACE = TypeAdapter[Space](Space)
LOG = {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"type": "float", "low": 1.0, "high": 1.0}, "low 1.0 is not below high 1.0"),
        ({"type": "float", "low": 0.0, "high": 1.0, "log": True}, "a log range starts above 0"),
        ({"type": "float", "low": 0.1, "high": 1.0, "log": True, "step": 0.1}, "either log or stepped"),
        ({"type": "float", "low": 0.0, "high": 1.0, "step": 0.3}, "no whole number of steps of 0.3"),
        ({"type": "float", "low": 0.0, "high": 1.0, "step": 0.0}, "step 0.0 is not above 0"),
        ({"type": "float", "low": 0.0, "high": float("inf")}, "finite number"),
        ({"type": "int", "low": 2, "high": 9, "step": 2}, "no whole number of steps of 2"),
        ({"type": "int", "low": 2, "high": 8, "step": 2, "log": True}, "either log or stepped"),
        ({"type": "int", "low": 1.5, "high": 8}, "valid integer"),
        ({"type": "choice", "values": []}, "at least 1 item"),
        ({"type": "choice", "values": ["a", "a"]}, "a value is there twice"),
        ({"type": "normal", "low": 0.0, "high": 1.0}, "does not match any of the expected tags"),
        ({"type": "float", "low": 0.0, "hihg": 1.0}, "Field required"),
    ],
)
def test_a_distribution_that_makes_no_sense_is_refused(entry: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        SPACE.validate_python({"student.dropout": entry})


def test_a_choice_tells_one_from_true() -> None:
    assert Choice(values=[1, True, 1.0]).values == [1, True, 1.0]


def test_probes_are_the_ends_and_a_value_between() -> None:
    assert Float(low=0.0, high=1.0).probes == pytest.approx((0.0, 1.0, 0.382))
    assert Float(low=0.0, high=1.0, step=0.25).probes == (0.0, 1.0, 0.25)
    assert Int(low=2, high=8, step=2).probes == (2, 8, 4)
    assert Int(low=2, high=3).probes == (2, 3)
    assert Choice(values=["b", "a"]).probes == ("b", "a")


@pytest.mark.parametrize(
    ("when", "values", "holds"),
    [
        ({}, {}, True),
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {}, False),
        ({"a": [1, 2]}, {"a": 2}, True),
        ({"a": [1, 2]}, {"a": 3}, False),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, False),
    ],
)
def test_a_distribution_is_active_while_all_its_conditions_hold(
    when: dict[str, Any], values: dict[str, Any], holds: bool
) -> None:
    assert active(Choice(values=["x"], when=when), values) is holds


def test_a_path_comes_after_those_that_its_conditions_name() -> None:
    space = SPACE.validate_python(
        {
            "a": {"type": "choice", "values": [1], "when": {"b": 1}},
            "b": {"type": "choice", "values": [1], "when": {"c": 1}},
            "c": {"type": "choice", "values": [1]},
        }
    )
    assert ordered(space) == ["c", "b", "a"]


@pytest.mark.parametrize("other", ["a", "b"])
def test_conditions_in_a_circle_are_refused(other: str) -> None:
    space: Space = {"a": Choice(values=[1], when={other: 1}), "b": Choice(values=[1], when={"a": 1})}
    with pytest.raises(ExperimentError, match="go in a circle"):
        ordered(space)


def test_get_path_reads_values_and_whole_sections() -> None:
    run = RunSpec()
    assert get_path(run, "method.temperature.start") == 2.0
    assert get_path(run, "method.temperature")["shape"] == "constant"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("method.temprature", "path 'method.temprature': no field 'temprature'; fields are attention_weight, "),
        ("methd.temperature", "no field 'methd'; fields are corpus, features, fold"),
        ("metric.name", "nothing lies below 'name'"),
        ("", "no field ''"),
    ],
)
def test_an_unknown_path_is_told_the_fields_that_there_are(path: str, told: str) -> None:
    with pytest.raises(ExperimentError) as read:
        get_path(RunSpec(), path)
    assert told in str(read.value)
    with pytest.raises(ExperimentError) as written:
        with_values(RunSpec(), {path: 1})
    assert told.split(";", 1)[0] in str(written.value)


def test_with_values_sets_leaves_and_sections_and_leaves_the_run_alone() -> None:
    run = RunSpec()
    changed = with_values(run, {"method.kd_weight.start": 0.9, "training": {"epochs": 3}, "student.width": 32})
    assert isinstance(changed.method, CMD)
    assert (changed.method.kd_weight.start, changed.training.epochs, get_path(changed, "student.width")) == (
        0.9,
        3,
        32,
    )
    assert run == RunSpec()


def test_a_number_stands_for_a_constant_schedule() -> None:
    method = with_values(RunSpec(), {"method.temperature": 4}).method
    assert isinstance(method, CMD)
    assert (method.temperature.shape, method.temperature.start) == ("constant", 4.0)


def test_another_type_drops_the_fields_of_the_one_before() -> None:
    assert with_values(RunSpec(), {"method.type": "supervised"}).method == Supervised()


def test_a_type_that_is_only_a_setting_keeps_its_neighbours() -> None:
    run = with_values(RunSpec(), {"method.curriculum.start_fraction": 0.7})
    method = with_values(run, {"method.curriculum.type": "teacher_nll"}).method
    assert isinstance(method, CMD)
    assert method.curriculum.start_fraction == 0.7


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"student.width": 30}, "width 30 is not divisible by heads 4"),
        ({"training.epochs": "many"}, "run.training.epochs: Input should be a valid integer"),
        ({"student.dropout": 1.0}, "less than 1 (given: 1.0)"),
        ({"teachers.audio": None, "teachers.fusion": None, "teachers.audio.dropout": 0.2}, "audio is null here"),
    ],
)
def test_a_value_that_makes_no_run_is_refused_with_the_reason(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        with_values(RunSpec(), values)
    assert told in str(caught.value)


def test_corners_are_built_under_their_conditions() -> None:
    space = SPACE.validate_python(
        {
            "method.phases": {"type": "choice", "values": ["two_phase", "joint"]},
            "method.phase_one": {"type": "float", "low": 0.1, "high": 0.3, "when": {"method.phases": "two_phase"}},
            "training.learning_rate": LOG,
        }
    )
    built = list(corners(space, with_values(RunSpec(), {"method.phases": "joint"})))
    assert [path for path, _, _ in built].count("method.phases") == 2
    phase_one = [run.method for path, _, run in built if path == "method.phase_one"]
    assert len(phase_one) == 3
    assert all(isinstance(method, CMD) and method.phases == "two_phase" for method in phase_one)
    assert [value for path, value, _ in built if path == "training.learning_rate"][:2] == [1e-4, 1e-2]


def test_a_corners_own_condition_beats_its_parents() -> None:
    """`grow` wants soft pacing, its parent condition would take hard pacing as well."""
    space = SPACE.validate_python(
        {
            "method.curriculum.pacing": {"type": "choice", "values": ["hard", "soft"]},
            "method.curriculum.type": {
                "type": "choice",
                "values": ["none", "teacher_nll"],
                "when": {"method.curriculum.pacing": ["hard", "soft"]},
            },
            "method.curriculum.grow": {
                "type": "float",
                "low": 0.1,
                "high": 1.0,
                "when": {"method.curriculum.pacing": "soft", "method.curriculum.type": "teacher_nll"},
            },
        }
    )
    methods = [run.method for path, _, run in corners(space, RunSpec()) if path.endswith("grow")]
    assert {m.curriculum.pacing for m in methods if isinstance(m, CMD)} == {"soft"}
    assert {m.curriculum.type for m in methods if isinstance(m, CMD)} == {"teacher_nll"}


@pytest.mark.parametrize(
    ("path", "entry", "told"),
    [
        ("student.dropout", {"type": "float", "low": 0.0, "high": 1.0}, "search.space.student.dropout at 1.0"),
        ("student.width", {"type": "int", "low": 16, "high": 64}, "width 17 is not divisible by heads"),
        ("student.width", {"type": "float", "low": 16, "high": 64}, "valid integer"),
        ("student.depth", {"type": "int", "low": 1, "high": 4}, "no field 'depth'"),
        ("method.positives", {"type": "choice", "values": ["instance", "all"]}, "at 'all'"),
    ],
)
def test_a_corner_that_makes_no_run_names_path_and_value(path: str, entry: dict[str, Any], told: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        list(corners(SPACE.validate_python({path: entry}), RunSpec()))
    assert told in str(caught.value)


def test_the_default_point_is_the_runs_own_values_within_the_space() -> None:
    space = SPACE.validate_python(
        {
            "student.dropout": {"type": "float", "low": 0.0, "high": 0.4},
            "student.width": {"type": "int", "low": 16, "high": 48, "step": 16},
            "student.self_layers": {"type": "int", "low": 1, "high": 5, "step": 2},
            "training.learning_rate": LOG,
            "method.positives": {"type": "choice", "values": ["same_label"]},
            "method.phase_one": {"type": "float", "low": 0.1, "high": 0.3, "when": {"method.phases": "two_phase"}},
            "method.softness": {"type": "float", "low": 0.1, "high": 0.3, "when": {"method.phases": "joint"}},
        }
    )
    space["method.curriculum.softness"] = space.pop("method.softness")
    point = default_point(space, RunSpec())
    # width 64 is above the range, 2 layers are off its grid, "instance" is no choice, softness is inactive
    assert point == {"student.dropout": 0.1, "training.learning_rate": 1e-3, "method.phase_one": 0.2}


def test_the_default_point_leaves_out_what_hangs_on_an_inactive_choice() -> None:
    """The sampler never sees `pacing`, so nothing that hangs on it may be enqueued."""
    space = SPACE.validate_python(
        {
            "method.curriculum.type": {"type": "choice", "values": ["none", "teacher_nll"]},
            "method.curriculum.pacing": {
                "type": "choice",
                "values": ["hard", "soft"],
                "when": {"method.curriculum.type": "teacher_nll"},
            },
            "method.curriculum.power": {
                "type": "float",
                "low": 0.5,
                "high": 2.0,
                "when": {"method.curriculum.pacing": "hard"},
            },
        }
    )
    assert default_point(space, RunSpec()) == {"method.curriculum.type": "none"}


STUDENTS = SPACE.validate_python(
    {
        "student.type": {
            "type": "choice",
            "values": ["audio_text_transformer", "inverted_transformer", "cnn_lstm"],
        },
        "student.heads": {
            "type": "choice",
            "values": [2, 8],
            "when": {"student.type": ["audio_text_transformer", "inverted_transformer"]},
        },
        "student.filters": {"type": "int", "low": 4, "high": 16, "when": {"student.type": "cnn_lstm"}},
    }
)


@pytest.mark.parametrize("names", [("student.type", "student.filters"), ("student.filters", "student.type")])
def test_a_class_is_chosen_before_what_lies_below_it_whatever_the_order(names: tuple[str, str]) -> None:
    values = {"student.type": "cnn_lstm", "student.filters": 16}
    student = with_values(RunSpec(), {name: values[name] for name in names}).student
    assert student == CnnLstm(filters=16)


def test_a_path_below_another_class_is_told_that_class_s_fields() -> None:
    with pytest.raises(ExperimentError, match=r"no field 'cross_layers'; fields are audio_dropout, "):
        with_values(RunSpec(), {"student.cross_layers": 1, "student.type": "cnn_lstm"})


def test_a_section_given_in_part_can_be_reached_into() -> None:
    run = with_values(RunSpec(), {"training.patience": 3, "training": {"epochs": 5}})
    assert (run.training.epochs, run.training.patience, run.training.batch_size) == (5, 3, 64)


def test_a_path_of_several_classes_is_probed_in_each() -> None:
    run = with_values(RunSpec(), {"method": {"type": "supervised"}})
    built = [(path, value, one.student.type) for path, value, one in corners(STUDENTS, run)]
    assert [kind for path, _, kind in built if path == "student.type"] == list(STUDENTS["student.type"].probes)
    assert [(value, kind) for path, value, kind in built if path == "student.heads"] == [
        (2, "audio_text_transformer"),
        (8, "audio_text_transformer"),
        (2, "inverted_transformer"),
        (8, "inverted_transformer"),
    ]
    assert {kind for path, _, kind in built if path == "student.filters"} == {"cnn_lstm"}


@pytest.mark.parametrize(
    ("student", "point"),
    [
        ({"type": "audio_text_transformer", "heads": 8}, {"student.heads": 8}),
        ({"type": "cnn_lstm"}, {"student.filters": 8}),
        ({"type": "inverted_transformer", "heads": 4}, {}),
    ],
)
def test_the_default_point_has_the_paths_of_its_own_class(student: dict[str, Any], point: dict[str, Any]) -> None:
    run = RunSpec.model_validate({"student": student, "method": {"type": "supervised"}})
    assert default_point(STUDENTS, run) == {"student.type": student["type"], **point}


def test_a_condition_on_a_field_that_the_default_s_class_lacks_never_holds_for_it() -> None:
    space = SPACE.validate_python(
        {"training.patience": {"type": "int", "low": 0, "high": 9, "when": {"student.filters": 8}}}
    )
    assert default_point(space, RunSpec()) == {}
    run = RunSpec.model_validate({"student": {"type": "cnn_lstm"}, "method": {"type": "supervised"}})
    assert default_point(space, run) == {"training.patience": 8}
