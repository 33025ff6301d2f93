"""Experiments from YAML: overlays, `--set`, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.errors import ExperimentError
from orchestrator.experiment import (
    Asha,
    ExperimentSpec,
    check,
    load,
    merged,
    representation_epochs,
    sweep_fingerprint,
)
from orchestrator.space import get_path
from trainables.spec import CMD, RunSpec, Scratch, StandInSpec, Supervised

BASE: dict[str, Any] = {
    "name": "small",
    "claim": "It works.",
    "run": {"training": {"epochs": 20}},
    "search": {
        "scheduler": {"type": "asha", "grace_epochs": 6},
        "space": {
            "student.dropout": {"type": "float", "low": 0.0, "high": 0.4},
            "training.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
        },
    },
    "scales": {
        "laptop": {
            "run": {
                "teachers": {"text": {"encoder": {"type": "scratch", "width": 32}}},
                "training": {"epochs": 10},
            },
            "search": {"trials": 3, "space": {"student.dropout": None}},
        }
    },
    "stand_in": {"run": {"corpus": {"type": "standin", "utterances": 300}}, "search": {"trials": 2}},
}


def written(folder: Path, data: Any) -> str:
    path = folder / "small.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data), encoding="utf-8")
    return str(path)


@pytest.fixture
def small(tmp_path: Path) -> str:
    return written(tmp_path, BASE)


def test_overlays_are_laid_base_then_scale_then_stand_in_then_set(small: str) -> None:
    full = load(small, scale="full")
    assert (full.run.training.epochs, full.search.trials, sorted(full.search.space)) == (
        20,
        20,
        ["student.dropout", "training.learning_rate"],
    )
    laptop = load(small, scale="laptop")
    assert (laptop.run.training.epochs, laptop.search.trials) == (10, 3)
    assert list(laptop.search.space) == ["training.learning_rate"]
    both = load(small, scale="laptop", stand_in=True)
    assert (both.run.training.epochs, both.search.trials) == (10, 2)
    assert both.run.corpus == StandInSpec(utterances=300)
    assert load(small, scale="laptop", stand_in=True, sets=["search.trials=1"]).search.trials == 1


def test_another_type_replaces_a_section_as_a_whole(small: str) -> None:
    text = load(small, scale="laptop").run.teachers.text
    assert text is not None
    assert text.encoder == Scratch(width=32)


@pytest.mark.parametrize(
    ("base", "over", "result"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"a": {"x": 1}}, {"a": None}, {"a": None}),
        ({"a": None}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"type": "p", "x": 1}}, {"a": {"type": "q"}}, {"a": {"type": "q"}}),
        ({"a": {"type": "p", "x": 1}}, {"a": {"type": "p", "y": 2}}, {"a": {"type": "p", "x": 1, "y": 2}}),
        ({"a": {"type": "p", "x": 1}}, {"a": {"y": 2}}, {"a": {"type": "p", "x": 1, "y": 2}}),
    ],
)
def test_merged(base: dict[str, Any], over: dict[str, Any], result: dict[str, Any]) -> None:
    before = yaml.safe_dump(base)
    assert merged(base, over) == result
    assert yaml.safe_dump(base) == before


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("run.training.learning_rate=5e-4", 5e-4),
        ("run.method.temperature=2", 2.0),
        ("run.method.type=supervised", Supervised()),
        ("run.student={type: audio_text_transformer, width: 32}", 32),
        ("search.objectives=[{metric: macro_f1}]", "macro_f1"),
        ("claim=a = b", "a = b"),
    ],
)
def test_set_reads_its_value_as_yaml(text: str, value: Any, small: str) -> None:
    spec = load(small, scale="full", sets=[text])
    method = spec.run.method
    found = {
        "run.training.learning_rate": spec.run.training.learning_rate,
        "run.method.temperature": method.temperature.start if isinstance(method, CMD) else None,
        "run.method.type": method,
        "run.student": get_path(spec.run, "student.width"),
        "search.objectives": spec.search.objectives[0].metric,
        "claim": spec.claim,
    }
    assert found[text.partition("=")[0]] == value


def test_two_sets_may_only_fit_together(small: str) -> None:
    student = load(small, scale="full", sets=["run.student.width=90", "run.student.heads=9"]).run.student
    assert (get_path(student, "width"), get_path(student, "heads")) == (90, 9)


def test_a_set_may_reach_into_what_the_one_before_made(small: str) -> None:
    sets = ["run.teachers.text.encoder={type: scratch}", "run.teachers.text.encoder.width=48"]
    text = load(small, scale="full", sets=sets).run.teachers.text
    assert text is not None
    assert text.encoder == Scratch(width=48)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("run.method.temprature=2", "--set path 'run.method.temprature': no field 'temprature'; fields are"),
        ("run.method.temperature", "write it as path=value"),
        ("=2", "write it as path=value"),
        ("run.training.epochs=0", "--set run.training.epochs=0: run.training.epochs"),
        ("run.training={epochs: [}", "the value is not YAML"),
        ("run.student.width=90", "width 90 is not divisible by heads 4"),
        ("run.corpus.utterances=5", "no field 'utterances'"),
        ("resources.trial.gpus=1.5", "gpus 1.5: a process gets a share of one GPU, or whole ones; give 1 or 2"),
        ("resources.harvest.accelerator=T4", "accelerator 'T4': it is a kind of GPU, and gpus is 0"),
        ("resources.teacher.minimum=2", "minimum 2: more than the 1 workers that there are to be at most"),
        ("resources.confirm={minimum: 3, workers: 2}", "minimum 3: more than the 2 workers"),
        ("resources.trial={workers: 2, gpus: 0.5}", "gpus 0.5 for each of 2 workers: two of them may get the same"),
        ("resources.trial.minimum=1", "no field 'minimum'"),
    ],
)
def test_a_wrong_set_is_told_what_is_wrong(text: str, told: str, small: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        load(small, scale="full", sets=[text])
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"nmae": "x"}, "nmae: there is no such field; `orch schema` lists the fields"),
        ({"name": "Not a name"}, "name: String should match pattern"),
        ({"scales": {"laptpo": {}}}, "scales.laptpo: scales are laptop, full"),
        ({"scales": 3}, "scales: a mapping is wanted, not 3"),
        ({"scales": {"laptop": [1]}}, "scales.laptop: a mapping is wanted"),
        ({"stand_in": "yes"}, "stand_in: a mapping is wanted"),
        ({"run": {"corpus": {"type": "imocap"}}}, "run.corpus: Input tag 'imocap'"),
        (
            {"run": {"student": {"type": "audio_text_transformer", "modalities": ["audio", "video"]}}},
            "'audio', 'text' or 'visual'",
        ),
        (
            {"search": {"scheduler": {"type": "asha", "grace_epochs": 2}}},
            "small.yaml: search.scheduler.grace_epochs 2: the representation phase",
        ),
        ({"search": {"objectives": []}}, "search.objectives"),
        ({"confirm": {"seeds": 0}}, "confirm.seeds: Input should be greater than or equal to 1 (given: 0)"),
    ],
)
def test_a_faulty_file_is_told_where_and_what(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError) as caught:
        load(written(tmp_path, {**BASE, **change}), scale="laptop")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: [", "not YAML"),
        ("- 1\n- 2\n", "an experiment is a mapping"),
        ("name: a\nclaim: b\nname: c\n", "'name' is there twice"),
    ],
)
def test_a_text_that_is_no_experiment(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=told):
        load(written(tmp_path, text))


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"name: \xff\xfe\n")
    with pytest.raises(ExperimentError, match="cannot be read as UTF-8"):
        load(str(tmp_path / "bytes.yaml"))


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(ExperimentError, match=r"no experiment 'cmd-mled'; there are .*cmd-meld"):
        load("cmd-mled")
    with pytest.raises(ExperimentError, match="there is no such file"):
        load("nowhere/none.yaml")


def test_without_a_stand_in_section_there_is_no_stand_in(tmp_path: Path) -> None:
    data = {key: value for key, value in BASE.items() if key != "stand_in"}
    with pytest.raises(ExperimentError, match="it has no stand_in section"):
        load(written(tmp_path, data), stand_in=True)


def test_empty_sections_are_as_good_as_none(tmp_path: Path) -> None:
    assert load(written(tmp_path, {**BASE, "scales": None, "stand_in": None})).run.training.epochs == 20


def test_a_number_with_an_exponent_is_a_number(tmp_path: Path) -> None:
    text = "name: a\nclaim: b\nsearch: {space: {training.learning_rate: {type: choice, values: [1e-3, 5E-4]}}}\n"
    assert load(written(tmp_path, text)).search.space["training.learning_rate"].probes == (1e-3, 5e-4)


def test_check_counts_what_it_built(small: str) -> None:
    assert check(load(small, scale="full")) == 6
    assert check(load(small, scale="laptop")) == 3


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"student.dropout": {"type": "float", "low": 0.0, "high": 1.0}}, "student.dropout at 1.0"),
        (
            {"student.dropout": {"type": "float", "low": 0.0, "high": 0.5, "when": {"method.phasis": "joint"}}},
            "no field 'phasis'",
        ),
        (
            {
                "method.phases": {"type": "choice", "values": ["two_phase"]},
                "student.dropout": {"type": "float", "low": 0.0, "high": 0.5, "when": {"method.phases": "joint"}},
            },
            "its condition method.phases: 'joint' never holds",
        ),
        ({"method.phase_one": {"type": "float", "low": 0.1, "high": 0.5}}, "10 epochs of representation"),
    ],
)
def test_check_finds_what_could_only_fail_later(space: dict[str, Any], told: str, tmp_path: Path) -> None:
    data = merged(BASE, {"search": {"space": {"student.dropout": None, "training.learning_rate": None}}})
    spec = load(written(tmp_path, merged(data, {"search": {"space": space}})), scale="full")
    with pytest.raises(ExperimentError) as caught:
        check(spec)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("method", "epochs", "expected"),
    [
        (CMD(phase_one=0.2), 40, 8),
        (CMD(phase_one=0.2, phases="joint"), 40, 0),
        (CMD(phase_one=0.0), 40, 0),
        (Supervised(), 40, 0),
    ],
)
def test_epochs_of_representation(method: Any, epochs: int, expected: int) -> None:
    run = RunSpec.model_validate({"method": method, "training": {"epochs": epochs}})
    assert representation_epochs(run) == expected


def spec(**change: Any) -> ExperimentSpec:
    return ExperimentSpec.model_validate(
        {"name": "a", "claim": "b", "search": {"scheduler": {"type": "none"}}, **change}
    )


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other", "claim": "other", "paper": "other"},
        {"search": {"scheduler": {"type": "none"}, "trials": 99}},
        {"confirm": {"seeds": 9}},
        {"resources": {"trial": {"workers": 2}, "microbatch": 4}},
    ],
)
def test_circumstance_leaves_a_sweeps_identity_alone(change: dict[str, Any]) -> None:
    assert sweep_fingerprint(spec(**change), "t") == sweep_fingerprint(spec(), "t")


@pytest.mark.parametrize(
    "change",
    [
        {"run": {"seed": 1}},
        {"run": {"metric": "uar"}},
        {"run": {"student": {"type": "audio_text_transformer", "width": 32}}},
        {"search": {"scheduler": {"type": "asha", "grace_epochs": 20}}},
        {"search": {"scheduler": {"type": "none"}, "seed": 1}},
    ],
)
def test_what_bears_on_the_trials_is_identity(change: dict[str, Any]) -> None:
    assert sweep_fingerprint(spec(**change), "t") != sweep_fingerprint(spec(), "t")
    assert sweep_fingerprint(spec(), "u") != sweep_fingerprint(spec(), "t")


def test_the_defaults_fit_together() -> None:
    assert check(ExperimentSpec(name="a", claim="b")) == 0


def test_grace_is_longer_than_the_representation_phase() -> None:
    scheduler = Asha(grace_epochs=9)
    assert spec(search={"scheduler": scheduler}).search.scheduler == scheduler
    with pytest.raises(ValueError, match="give at least 9"):
        spec(search={"scheduler": Asha(grace_epochs=8)})
