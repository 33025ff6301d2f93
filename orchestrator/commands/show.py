"""`orch show`: an experiment with its overlays resolved."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.commands.options import JSON, NAME, SCALE, SETS


def show(
    name: NAME,
    as_json: JSON = False,
    scale: SCALE = None,
    stand_in: Annotated[
        bool | None,
        typer.Option("--stand-in/--own", help="On the stand-in corpus or its own; by default as a sweep would."),
    ] = None,
    sets: SETS = None,
) -> None:
    """Print the resolved experiment, as YAML or JSON."""
    from orchestrator.resolve import resolve
    from orchestrator.settings import load

    found = resolve(name, load(), scale=scale, stand_in=stand_in, sets=sets or ())
    if as_json:
        typer.echo(found.spec.model_dump_json(indent=2))
        return
    import yaml

    corpus = "stand-in corpus" if found.stand_in else "own corpus"
    typer.echo(f"# {found.spec.name}, scale {found.scale} ({found.scale_why}), {corpus}")
    typer.echo(yaml.safe_dump(found.spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True), nl=False)
