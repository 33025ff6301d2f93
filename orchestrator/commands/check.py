"""`orch check`: everything about experiments that can be known before they run."""

from __future__ import annotations

from typing import Annotated

import typer


def check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Experiments; by default all.")
    ] = None,
) -> None:
    """Validate experiments: fields, both ends of every range, needs, leakage. Loads no torch."""
    from orchestrator import experiment
    from orchestrator.check import check_experiment
    from orchestrator.errors import ExperimentError

    wanted = names or experiment.names()
    found = [check_experiment(name) for name in wanted]
    width = max((len(one.name) for one in found), default=0)
    for one in found:
        if one.fault:
            typer.echo(f"{one.name:<{width}}  FAULT  {one.fault}", err=True)
        else:
            trials = "/".join(str(number) for number in sorted(set(one.trials)))
            typer.echo(
                f"{one.name:<{width}}  ok  {one.corners} corners over {one.variants} variants, {trials} trials"
            )
    faults = sum(bool(one.fault) for one in found)
    if faults:
        raise ExperimentError(f"{faults} of {len(found)} experiments cannot run as they stand")
