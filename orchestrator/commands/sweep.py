"""`orch sweep`: the main job, from corpus to confirmed student."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from orchestrator.commands.options import JSON, NAME, SCALE, SETS, STORAGE

if TYPE_CHECKING:
    from orchestrator.display.board import BoardSpec
    from orchestrator.resolve import Resolved
    from orchestrator.settings import Settings
    from orchestrator.summary import Summary


def sweep(
    name: NAME,
    *,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials in all; more than before extend a sweep.")
    ] = None,
    scale: SCALE = None,
    sets: SETS = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the runs and of the search.")] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Most trials at once; 1 repeats to the bit.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start the search anew; earlier stages are reused.")
    ] = False,
    as_json: JSON = False,
    storage: STORAGE = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of the live display.")] = False,
) -> None:
    """Prepare, teach, harvest, search and confirm; finished stages are skipped."""
    from orchestrator.display.choose import only_document
    from orchestrator.resolve import resolve
    from orchestrator.settings import load

    changes = [*(sets or ())]
    if seed is not None:
        changes += [f"run.seed={seed}", f"search.seed={seed}"]
    settings = load({"storage": storage, "concurrency": concurrency})
    found = resolve(name, settings, scale=scale, sets=changes)
    with only_document() if as_json else nullcontext(sys.stdout) as out:
        human = sys.stderr if as_json else out
        summary = _run(found, settings, human, trials=trials, fresh=fresh, plain=plain)
        if as_json:
            print(summary.model_dump_json(), file=out)


def _run(
    found: Resolved, settings: Settings, human: TextIO, *, trials: int | None, fresh: bool, plain: bool
) -> Summary:
    from orchestrator import pipeline
    from orchestrator.display.choose import console, display
    from orchestrator.display.tables import STAND_IN, print_summary

    with display(_board(found, trials), human, plain=plain) as shown:
        shown.message(f"scale {found.scale}: {found.scale_why}")
        if found.stand_in or found.spec.run.corpus.type == "standin":
            shown.message(STAND_IN, "warning")
        summary = pipeline.sweep(
            found.spec,
            settings,
            stand_in=found.stand_in,
            fresh=fresh,
            trials=trials,
            concurrency=settings.concurrency,
            observer=shown,
        )
    print_summary(summary, console(human))
    return summary


def _board(found: Resolved, trials: int | None) -> BoardSpec:
    from orchestrator.display.board import BoardSpec

    spec = found.spec
    objective = spec.search.objectives[0]
    corpus = "stand-in corpus" if found.stand_in else spec.run.corpus.type
    return BoardSpec(
        title=f"orch sweep {spec.name} · {corpus} · {found.scale}",
        metric=objective.metric,
        highest=objective.direction == "max",
        trials=trials or spec.search.trials,
    )
