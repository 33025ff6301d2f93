"""The JSON Schema of an experiment's YAML, overlays included.

The YAML may leave out every field with a default, and its overlays may leave out every field, so the overlays'
definitions are copies without `required`, named `...Overlay`. A null in `search.space` takes a path out there.
"""

from __future__ import annotations

from typing import Any, get_args

from orchestrator.experiment import ExperimentSpec, Scale

SUFFIX = "Overlay"


def experiment_schema() -> dict[str, Any]:
    """Draft 2020-12, for `# yaml-language-server: $schema=...` and the like."""
    schema = ExperimentSpec.model_json_schema()
    definitions = schema["$defs"]
    overlays = {f"{name}{SUFFIX}": _overlay(value) for name, value in definitions.items()}
    overlay = {key: value for key, value in _overlay(schema).items() if key != "$defs"}
    overlays[f"Experiment{SUFFIX}"] = overlay
    for name in ("name", "claim", "paper"):
        overlay["properties"].pop(name)
    _allow_null(overlays[f"SearchSpec{SUFFIX}"]["properties"]["space"])
    reference = {"$ref": f"#/$defs/Experiment{SUFFIX}"}
    scales = dict.fromkeys(get_args(Scale), reference)
    schema["$defs"] = {**definitions, **overlays}
    schema["properties"] |= {
        "scales": {
            "type": "object",
            "description": "Laid on the rest at this scale.",
            "properties": scales,
            "additionalProperties": False,
        },
        "stand_in": {**reference, "description": "Laid on the rest when the stand-in corpus is used."},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _overlay(value: Any) -> Any:
    """A copy whose references lead to overlays, in which nothing is required and a union may leave `type` out."""
    if isinstance(value, dict):
        left_out = ("required", "default", "discriminator")
        copy = {key: _overlay(entry) for key, entry in value.items() if key not in left_out}
        if isinstance(copy.get("$ref"), str):
            copy["$ref"] += SUFFIX
        if "oneOf" in copy:  # without its `type` a value may fit several
            copy["anyOf"] = copy.pop("oneOf")
        return copy
    if isinstance(value, list):
        return [_overlay(entry) for entry in value]
    return value


def _allow_null(space: dict[str, Any]) -> None:
    entry = space["additionalProperties"]
    space["additionalProperties"] = {"anyOf": [entry, {"type": "null"}]}
