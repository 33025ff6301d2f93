"""`orch sync`: send a stored sweep to MLflow again."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from orchestrator.commands.options import NAME, SCALE, SETS, STORAGE, with_seed


def sync(
    name: NAME,
    *,
    scale: SCALE = None,
    stand_in: Annotated[
        bool | None,
        typer.Option("--stand-in/--own", help="Of the stand-in corpus or its own; by default as a sweep would."),
    ] = None,
    sets: SETS = None,
    seed: Annotated[int | None, typer.Option(min=0, help="As it was given to the sweep.")] = None,
    storage: STORAGE = None,
) -> None:
    """Send a sweep to MLflow from what is stored of it; twice changes nothing."""
    from orchestrator.resending import resend
    from orchestrator.resolve import resolve
    from orchestrator.settings import load

    def say(text: str, level: Literal["info", "warning"]) -> None:
        typer.echo(f"warning: {text}" if level == "warning" else text, err=True)

    settings = load({"storage": storage})
    found = resolve(name, settings, scale=scale, stand_in=stand_in, sets=with_seed(sets, seed))
    sent = resend(found.spec, settings, stand_in=found.stand_in, say=say)
    for refused in sent.refused:
        say(f"MLflow refused an entry: {refused}", "warning")
    state = "" if sent.finished else "; it is not finished: orch sweep goes on with it"
    typer.echo(f"MLflow at {sent.store} shows {sent.sweep}: {sent.trials} trials, {sent.models} models{state}")
    if sent.refused:
        raise typer.Exit(1)
