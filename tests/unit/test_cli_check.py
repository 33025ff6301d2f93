"""`orch check`, `orch show` and `orch schema`: experiments read, judged and printed without running them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator import pipeline
from orchestrator.check import check_experiment, check_spec
from orchestrator.errors import ExperimentError
from orchestrator.events import Observers
from orchestrator.experiment import ExperimentSpec, load, names, validated
from orchestrator.settings import load as load_settings
from tests.helpers.cli import bare_machine, orch


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_machine(tmp_path, monkeypatch)


def spec(**change: Any) -> ExperimentSpec:
    return ExperimentSpec.model_validate({"name": "small", "claim": "It works.", **change})


def space(path: str, **entry: Any) -> dict[str, Any]:
    return {"search": {"space": {path: entry}}}


TEXT_ONLY = {"corpus": {"type": "meld", "modalities": ["text"]}, "teachers": {"audio": None, "fusion": None}}


def test_check_names_every_experiment_with_its_corners() -> None:
    found = orch("check")
    assert (found.code, found.err) == (0, "")
    lines = found.out.splitlines()
    assert [line.split()[0] for line in lines] == names()
    for line in lines:
        one = check_experiment(line.split()[0])
        assert f"  ok  {one.corners} corners over {one.variants} variants" in line
        assert one.corners > 0


def test_check_goes_on_after_a_fault_and_exits_with_2(tmp_path: Path) -> None:
    bad = {"name": "bad", "claim": "x", **space("student.dropout", type="float", low=0.0, high=1.0)}
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(bad), encoding="utf-8")
    found = orch("check", "bad.yaml", "cmd-meld")
    assert found.code == 2
    assert found.out.startswith("cmd-meld  ok")
    assert "bad.yaml  FAULT  scale laptop: search.space.student.dropout at 1.0: run.student.dropout" in found.err
    assert "error: 1 of 2 experiments cannot run as they stand" in found.err


def test_check_looks_at_every_variant(tmp_path: Path) -> None:
    data = {
        "name": "bad",
        "claim": "x",
        "scales": {"full": {"run": {"student": {"type": "audio_text_transformer", "width": 30}}}},
    }
    data["run"] = {"student": {"type": "audio_text_transformer"}}
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    assert check_experiment("bad.yaml").fault.startswith("scale full: bad.yaml: run.student: width 30")
    data = {"name": "bad", "claim": "x", "stand_in": {"run": {"corpus": {"type": "standin", "voices": 1}}}}
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    assert check_experiment("bad.yaml").fault.startswith("scale laptop, stand-in: bad.yaml: run.corpus.voices")


def ablation(change: dict[str, Any]) -> dict[str, Any]:
    return {"confirm": {"ablations": {"one": change}}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"run": {"metric": "f1"}},
            "run.metric 'f1': an epoch is chosen by one of weighted_f1, macro_f1, accuracy, uar",
        ),
        ({"run": {"metric": "nll"}}, "run.metric 'nll'"),
        ({"search": {"objectives": [{"metric": "f1"}]}}, "'f1': unknown; there are weighted_f1,"),
        ({"search": {"objectives": [{"metric": "test/uar"}]}}, "selection always reads dev, and never test"),
        ({"search": {"objectives": [{"metric": "latency_ms"}]}}, "its direction is min, not max"),
        ({"search": {"objectives": [{"metric": "uar", "direction": "min"}]}}, "its direction is max, not min"),
        ({"search": {"objectives": [{"metric": "uar"}, {"metric": "uar"}]}}, "it is there twice"),
        (space("seed", type="int", low=0, high=9), "a searched seed selects luck"),
        (space("corpus.max_seconds", type="float", low=1, high=9), "transfer set of its own"),
        (space("teachers.text.dropout", type="float", low=0, high=0.5), "give teachers an experiment each"),
        (space("features.mel_bands", type="int", low=40, high=80), "transfer set of its own"),
        (space("metric", type="choice", values=["uar", "accuracy"]), "transfer set of its own"),
        (space("optimizer.lr", type="float", low=0, high=0.5), "no field 'optimizer'"),
        (ablation({"student.depth": 3}), "confirm.ablations.one: path 'student.depth': no field 'depth'"),
        (ablation({"student.width": 30}), "confirm.ablations.one: run.student: width 30 is not divisible"),
        (ablation({"features.mel_bands": 40}), "features.mel_bands is no part of student, method, training"),
        (ablation({"seed": 4}), "seed is no part of student, method, training"),
        (
            ablation({"training.targets": "votes"}),
            "confirm.ablations.one: student audio_text_transformer with method cmd reads what each rater said",
        ),
    ],
)
def test_what_may_not_be_measured_or_searched(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        check_spec(spec(**change))
    assert told in str(caught.value)


def test_an_ablation_may_be_of_a_variant_that_is_only_searched() -> None:
    levels = ablation({"student.filters": 16})
    with pytest.raises(ExperimentError, match="no field 'filters'"):
        check_spec(spec(**levels))
    students = ["audio_text_transformer", "cnn_lstm"]
    run = {"method": {"type": "supervised"}}
    assert check_spec(spec(run=run, **levels, **space("student.type", type="choice", values=students))) == 2


def test_a_path_of_one_class_needs_its_condition() -> None:
    """Of a searched type, a path that some of its classes lack must say for which it is."""
    searched: dict[str, Any] = {
        "student.type": {"type": "choice", "values": ["audio_text_transformer", "cnn_lstm"]},
        "student.width": {"type": "choice", "values": [32, 64]},
    }
    run = {"method": {"type": "supervised"}}
    with pytest.raises(
        ExperimentError, match=r"student\.width: with student\.type 'cnn_lstm': .*when: {student\.type"
    ):
        check_spec(spec(run=run, search={"space": searched}))
    searched["student.width"]["when"] = {"student.type": "audio_text_transformer"}
    assert check_spec(spec(run=run, search={"space": searched})) == 4


@pytest.mark.parametrize("name", ["best-1", "default", "no-teacher", "text-only", "teacher-audio", "No KD"])
def test_an_ablation_has_a_name_of_its_own(name: str) -> None:
    with pytest.raises(ExperimentError, match=rf"^own: confirm\.ablations\.{name}: "):
        validated({"name": "own", "claim": "x", "confirm": {"ablations": {name: {"training.clip": 2.0}}}}, "own")


def test_several_objectives_with_the_right_directions() -> None:
    objectives = [
        {"metric": "uar"},
        {"metric": "parameters", "direction": "min"},
        {"metric": "ece", "direction": "min"},
    ]
    assert check_spec(spec(search={"objectives": objectives})) == 0


def test_a_contrast_needs_the_teacher_of_each_modality() -> None:
    audio = {"teachers": {"audio": None, "fusion": None}}
    with pytest.raises(ExperimentError, match="with method cmd needs the audio teacher's pooled output"):
        check_spec(spec(run=audio))
    assert check_spec(spec(run={**audio, "method": {"type": "supervised"}})) == 0


@pytest.mark.parametrize("start", [pipeline.sweep, pipeline.ablate])
def test_what_cannot_run_is_refused_before_anything_is_done(start: Callable[..., object], tmp_path: Path) -> None:
    student = {"type": "multi_level_fusion"}
    confirm = {"ablations": {"narrow": {"student.width": 64}}}
    unmet = spec(run={"student": student, "method": {"type": "supervised"}}, confirm=confirm)
    settings = load_settings({"storage": str(tmp_path / "store")})
    with pytest.raises(ExperimentError, match="meld comes without alignments; set"):
        start(unmet, settings, stand_in=False, observer=Observers())
    assert not (tmp_path / "store").exists()


def test_a_corner_may_need_what_the_run_itself_does_not() -> None:
    method = {"type": "cmd", "self_weight": 0, "cross_weight": 0}
    run = {"teachers": {"audio": None, "fusion": None}, "method": method}
    assert check_spec(spec(run=run)) == 0
    searched = space("method.attention_weight.start", type="float", low=0.0, high=1.0)
    with pytest.raises(
        ExperimentError, match=r"attention_weight\.start at 1\.0: .* audio teacher's attention output"
    ):
        check_spec(spec(run=run, **searched))


def test_a_text_student_needs_no_audio_teacher() -> None:
    student = {"type": "audio_text_transformer", "modalities": ["text"]}
    assert check_spec(spec(run={**TEXT_ONLY, "student": student})) == 0


@pytest.mark.parametrize(
    ("flags", "corpus", "epochs"),
    [
        ((), "standin", 12),
        (("--own",), "meld", 12),
        (("--scale", "full"), "standin", 40),
        (("--own", "--scale", "full", "--set", "run.training.epochs=50"), "meld", 50),
    ],
)
def test_show_prints_what_would_run(flags: tuple[str, ...], corpus: str, epochs: int) -> None:
    found = orch("show", "cmd-meld", *flags)
    assert (found.code, found.err) == (0, "")
    as_yaml = ExperimentSpec.model_validate(yaml.safe_load(found.out))
    assert (as_yaml.run.corpus.type, as_yaml.run.training.epochs) == (corpus, epochs)
    assert ExperimentSpec.model_validate_json(orch("show", "cmd-meld", "--json", *flags).out) == as_yaml


def test_what_show_prints_is_an_experiment_again(tmp_path: Path) -> None:
    (tmp_path / "shown.yaml").write_text(orch("show", "cmd-meld", "--own").out, encoding="utf-8")
    assert load("shown.yaml") == load("cmd-meld")


def test_schema_is_the_one_that_editors_are_pointed_at() -> None:
    from importlib.resources import files

    found = orch("schema")
    stored = files("search_spaces").joinpath("schema.json").read_text(encoding="utf-8")
    assert found.code == 0
    assert json.loads(found.out) == json.loads(stored), "orch schema > search_spaces/schema.json"
