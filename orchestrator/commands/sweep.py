"""`orch sweep`: the main job, from corpus to confirmed student."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from orchestrator.commands.options import FRESH, JSON, NAME, SCALE, SEED, SETS, STORAGE, TRIALS, with_seed

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.display.board import BoardSpec
    from orchestrator.events import Observer
    from orchestrator.resolve import Resolved
    from orchestrator.settings import Settings
    from orchestrator.summary import Summary


def sweep(
    name: NAME,
    *,
    trials: TRIALS = None,
    scale: SCALE = None,
    sets: SETS = None,
    seed: SEED = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Most trials at once; 1 repeats to the bit.")
    ] = None,
    fresh: FRESH = False,
    as_json: JSON = False,
    storage: STORAGE = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of the live display.")] = False,
) -> None:
    """Prepare, teach, harvest, search and confirm; finished stages are skipped."""
    from orchestrator.display.choose import only_document
    from orchestrator.resolve import resolve
    from orchestrator.settings import load

    settings = load({"storage": storage, "concurrency": concurrency})
    found = resolve(name, settings, scale=scale, sets=with_seed(sets, seed))
    with only_document() if as_json else nullcontext(sys.stdout) as out:
        human = sys.stderr if as_json else out
        summary = _run(found, settings, human, trials=trials, fresh=fresh, plain=plain)
        if as_json:
            print(summary.model_dump_json(), file=out)


def _run(
    found: Resolved, settings: Settings, human: TextIO, *, trials: int | None, fresh: bool, plain: bool
) -> Summary:
    from orchestrator import pipeline

    def work(observer: Observer) -> Summary:
        return pipeline.sweep(
            found.spec,
            settings,
            stand_in=found.stand_in,
            fresh=fresh,
            trials=trials,
            concurrency=settings.concurrency,
            observer=observer,
        )

    board = board_of(found, "sweep", trials or found.spec.search.trials)
    return shown(found, board, human, work, plain=plain)


def shown(
    found: Resolved, board: BoardSpec, human: TextIO, work: Callable[[Observer], Summary], *, plain: bool
) -> Summary:
    """Do the work under a display that fits the stream, then print its summary there."""
    from orchestrator.display.choose import console, display
    from orchestrator.display.tables import STAND_IN, print_summary

    with display(board, human, plain=plain) as observer:
        observer.message(f"scale {found.scale}: {found.scale_why}")
        if found.stand_in or found.spec.run.corpus.type == "standin":
            observer.message(STAND_IN, "warning")
        summary = work(observer)
    print_summary(summary, console(human))
    return summary


def board_of(found: Resolved, command: str, trials: int) -> BoardSpec:
    from orchestrator.display.board import BoardSpec

    spec = found.spec
    objective = spec.search.objectives[0]
    corpus = "stand-in corpus" if found.stand_in else spec.run.corpus.type
    return BoardSpec(
        title=f"orch {command} {spec.name} · {corpus} · {found.scale}",
        metric=objective.metric,
        highest=objective.direction == "max",
        trials=trials,
        folds=len(spec.run.folds) if len(spec.run.folds) > 1 else 0,
    )
