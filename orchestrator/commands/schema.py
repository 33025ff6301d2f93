"""`orch schema`: the JSON Schema of an experiment's YAML."""

from __future__ import annotations

import typer


def schema() -> None:
    """Print the JSON Schema of an experiment's YAML, so that editors complete it."""
    import json

    from orchestrator.schema import experiment_schema

    typer.echo(json.dumps(experiment_schema(), indent=2))
