"""`orch ablate`: what each part of an experiment's own run is worth, without a search."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.options import JSON, NAME, SCALE, SETS, STORAGE

if TYPE_CHECKING:
    from orchestrator.events import Observer
    from orchestrator.summary import Summary


def ablate(
    name: NAME,
    *,
    scale: SCALE = None,
    sets: SETS = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Most models at once.")] = None,
    as_json: JSON = False,
    storage: STORAGE = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of the live display.")] = False,
) -> None:
    """Confirm the default and each of confirm.ablations laid on it, with all seeds; nothing is searched."""
    from orchestrator import pipeline
    from orchestrator.commands.sweep import board_of, shown
    from orchestrator.display.choose import only_document
    from orchestrator.resolve import resolve
    from orchestrator.settings import load

    settings = load({"storage": storage, "concurrency": concurrency})
    found = resolve(name, settings, scale=scale, sets=sets or ())

    def work(observer: Observer) -> Summary:
        return pipeline.ablate(
            found.spec,
            settings,
            stand_in=found.stand_in,
            concurrency=settings.concurrency,
            observer=observer,
        )

    with only_document() if as_json else nullcontext(sys.stdout) as out:
        summary = shown(found, board_of(found, "ablate", 0), sys.stderr if as_json else out, work, plain=plain)
        if as_json:
            print(summary.model_dump_json(), file=out)
