"""What every experiment that comes with the package keeps, in every variant that a user can start."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any, get_args

import jsonschema
import pytest

from orchestrator.check import check_spec, variants
from orchestrator.experiment import ExperimentSpec, Scale, load, names, read
from orchestrator.schema import experiment_schema
from orchestrator.space import default_point
from trainables.spec import StandInSpec

NAMES = names()
VARIANTS = [(name, told, spec) for name in NAMES for told, spec in variants(name)]
IDS = [f"{name}: {told}" for name, told, _ in VARIANTS]

every_name = pytest.mark.parametrize("name", NAMES)
every_variant = pytest.mark.parametrize("spec", [spec for _, _, spec in VARIANTS], ids=IDS)


def text_of(name: str) -> str:
    return files("search_spaces").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def test_there_are_experiments() -> None:
    assert {"all-meld", "cmd-iemocap", "cmd-meld", "cmd-meld-text", "conreg-iemocap"} <= set(NAMES)


@every_name
def test_the_file_is_named_after_the_experiment(name: str) -> None:
    assert {spec.name for told, spec in variants(name)} == {name}


@every_name
def test_the_header_states_claim_paper_command_cost_and_result(name: str) -> None:
    header = [line for line in text_of(name).splitlines() if line.startswith("#")]
    for heading in ("Claim", "Paper", "Command", "Cost", "Result"):
        assert any(re.match(rf"# {heading}\s+\S", line) for line in header), heading
    assert any(f"orch sweep {name}" in line for line in header)


@every_name
def test_editors_find_the_schema_and_it_accepts_the_file(name: str) -> None:
    assert text_of(name).startswith("# yaml-language-server: $schema=schema.json\n")
    jsonschema.Draft202012Validator(experiment_schema()).validate(read(name))


@pytest.mark.parametrize(
    "change",
    [
        {"claims": "x"},
        {"run": {"trainin": {}}},
        {"stand_in": {"run": {"trainin": {}}}},
        {"scales": {"laptpo": {}}},
        {"scales": {"laptop": {"search": {"trials": 0}}}},
        {"search": {"space": {"student.dropout": {"type": "float", "low": 0.1, "hihg": 1}}}},
    ],
)
def test_the_schema_refuses_what_load_refuses(change: dict[str, Any]) -> None:
    schema = jsonschema.Draft202012Validator(experiment_schema())
    assert not schema.is_valid({"name": "a", "claim": "b", **change})
    assert schema.is_valid({"name": "a", "claim": "b"})


def test_the_schema_is_one_itself() -> None:
    jsonschema.Draft202012Validator.check_schema(experiment_schema())


@every_variant
def test_both_ends_of_every_range_make_a_run(spec: ExperimentSpec) -> None:
    assert check_spec(spec) >= 2 * len(spec.search.space)


@every_variant
def test_the_default_lies_in_the_space_and_some_of_it_is_searched(spec: ExperimentSpec) -> None:
    point = default_point(spec.search.space, spec.run)
    active = [path for path, entry in spec.search.space.items() if not entry.when]
    assert set(active) <= set(point)


@every_variant
def test_it_is_read_back_as_it_is_shown(spec: ExperimentSpec) -> None:
    assert ExperimentSpec.model_validate(json.loads(spec.model_dump_json())) == spec


@every_variant
def test_there_are_more_trials_than_are_confirmed(spec: ExperimentSpec) -> None:
    assert spec.search.trials > spec.confirm.top
    assert spec.search.startup_trials < spec.search.trials


@every_name
@pytest.mark.parametrize("scale", get_args(Scale))
def test_the_stand_in_keeps_the_modalities(name: str, scale: Scale) -> None:
    own, stand_in = load(name, scale=scale), load(name, scale=scale, stand_in=True)
    assert not isinstance(own.run.corpus, StandInSpec)
    assert isinstance(stand_in.run.corpus, StandInSpec)
    assert set(stand_in.run.corpus.modalities) == set(own.run.corpus.modalities)
    assert stand_in.run.student.modalities == own.run.student.modalities
