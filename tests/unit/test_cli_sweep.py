"""`orch sweep`: what it hands to the pipeline, and what it prints where. The pipeline itself is made up here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator import pipeline
from orchestrator.events import Observer
from orchestrator.experiment import ExperimentSpec
from orchestrator.settings import Settings
from orchestrator.summary import Summary
from tests.helpers.cli import bare_machine, orch
from tests.helpers.sweeps import summary, trial


class Pipeline:
    """Stands in for `pipeline.sweep` and remembers what it was given."""

    def __init__(self) -> None:
        self.spec: ExperimentSpec
        self.settings: Settings
        self.given: dict[str, Any] = {}

    def __call__(self, spec: ExperimentSpec, settings: Settings, *, observer: Observer, **given: Any) -> Summary:
        self.spec, self.settings, self.given = spec, settings, given
        print("chatter of some library")
        observer.stage_skipped("prepare", "it is there")
        observer.stage_started("sweep", "")
        observer.trial_changed(trial(0, scores=(0.5,), started=4e9, ended=4e9 + 1))
        return summary()


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    bare_machine(tmp_path, monkeypatch)
    found = Pipeline()
    monkeypatch.setattr(pipeline, "sweep", found)
    return found


def test_with_nothing_configured_it_runs_the_stand_in_and_says_so_loudly(called: Pipeline) -> None:
    found = orch("sweep", "cmd-meld")
    assert (found.code, found.err) == (0, "")
    assert called.spec.run.corpus.type == "standin"
    assert called.given == {"stand_in": True, "fresh": False, "trials": None, "concurrency": None}
    assert "warning: STAND-IN CORPUS" in found.out
    assert "scale laptop: no cluster and no GPU" in found.out
    assert "trial 0: completed" in found.out
    assert "Bayes ceilings" in found.out
    assert "orch ui" in found.out


def test_json_is_one_document_on_stdout_and_the_rest_on_stderr(called: Pipeline) -> None:
    found = orch("sweep", "cmd-meld", "--json")
    assert found.code == 0
    assert Summary.model_validate(json.loads(found.out)) == summary()
    assert found.out.count("\n") == 1
    for told in ("chatter", "STAND-IN", "trial 0: completed", "Bayes ceilings"):
        assert told in found.err


def test_no_control_codes_without_a_terminal(called: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in orch("sweep", "cmd-meld").out


def test_with_a_root_it_runs_the_corpus_itself(
    called: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCH_CORPORA__MELD", str(tmp_path))
    found = orch("sweep", "cmd-meld")
    assert (called.spec.run.corpus.type, called.given["stand_in"]) == ("meld", False)
    assert "warning: STAND-IN" not in found.out


def test_a_root_that_is_not_there_is_an_error(called: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_CORPORA__MELD", "/nowhere/meld")
    found = orch("sweep", "cmd-meld")
    assert (found.code, called.given) == (2, {})
    assert "ORCH_CORPORA__MELD): there is no such folder" in found.err


def test_options_reach_spec_and_pipeline(called: Pipeline) -> None:
    options = (
        "--seed",
        "7",
        "--trials",
        "5",
        "--concurrency",
        "2",
        "--fresh",
        "--scale",
        "full",
        "--storage",
        "s3://b",
    )
    assert orch("sweep", "cmd-meld", *options, "--set", "run.training.batch_size=16").code == 0
    assert (called.spec.run.seed, called.spec.search.seed, called.spec.run.training.batch_size) == (7, 7, 16)
    assert called.given == {"stand_in": True, "fresh": True, "trials": 5, "concurrency": 2}
    assert called.settings.storage == "s3://b"
    assert called.spec.run.training.epochs == 40


def test_a_wrong_set_ends_before_anything_runs(called: Pipeline) -> None:
    found = orch("sweep", "cmd-meld", "--set", "run.method.temprature=2")
    assert (found.code, called.given, found.out) == (2, {}, "")
    assert "no field 'temprature'; fields are" in found.err


def test_an_experiment_without_root_and_stand_in_cannot_run(called: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("name: own\nclaim: x\n", encoding="utf-8")
    found = orch("sweep", "own.yaml")
    assert (found.code, called.given) == (2, {})
    assert "set ORCH_CORPORA__MELD or, in orch.toml, corpora.meld" in found.err


def test_an_interrupted_sweep_exits_with_130(called: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*given: Any, **more: Any) -> Summary:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "sweep", interrupted)
    found = orch("sweep", "cmd-meld", "--json")
    assert (found.code, found.out) == (130, "")
    assert "interrupted" in found.err


ABLATIONS = "confirm.ablations={no-kd: {method.kd_weight: 0}}"


@pytest.fixture
def ablating(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    bare_machine(tmp_path, monkeypatch)
    found = Pipeline()
    monkeypatch.setattr(pipeline, "ablate", found)
    return found


def test_ablate_runs_the_experiment_s_own_setting_without_a_search(ablating: Pipeline) -> None:
    found = orch("ablate", "cmd-meld", "--set", ABLATIONS, "--concurrency", "2", "--scale", "full")
    assert (found.code, found.err) == (0, "")
    assert ablating.given == {"stand_in": True, "concurrency": 2}
    assert ablating.spec.confirm.ablations == {"no-kd": {"method.kd_weight": 0}}
    assert ablating.spec.run.training.epochs == 40
    assert "orch ablate cmd-meld" in found.out
    assert "warning: STAND-IN CORPUS" in found.out


def test_ablate_prints_one_document_too(ablating: Pipeline) -> None:
    found = orch("ablate", "cmd-meld", "--set", ABLATIONS, "--json")
    assert Summary.model_validate(json.loads(found.out)) == summary()


def test_an_experiment_without_ablations_says_how_to_name_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare_machine(tmp_path, monkeypatch)
    found = orch("ablate", "cmd-meld-text")
    assert found.code == 2
    assert "cmd-meld-text: it names no ablation; add confirm.ablations: {NAME: {PATH: VALUE}}" in found.err
    assert not (tmp_path / "orch-store").exists()
