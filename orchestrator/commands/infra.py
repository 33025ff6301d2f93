"""`orch infra`: manifests for Kubernetes, what is wrong with them, and the cluster that they are for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.options import SCALE, SEED, SETS, TRIALS, Scale

if TYPE_CHECKING:
    from orchestrator.infra.kubectl import Kubectl

infra = typer.Typer(
    no_args_is_help=True, help="Manifests for Kubernetes: render, check, apply, status, logs, delete."
)

OVERLAY = Annotated[str, typer.Argument(help="An overlay of infra/overlays/, or the folder of a kustomization.")]
EXPERIMENT = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="An experiment, or the path of its YAML; by default the overlay's."),
]
WITH = Annotated[list[str] | None, typer.Option("--with", metavar="COMPONENT", help="Of infra/components/.")]
IMAGE = Annotated[
    str | None,
    typer.Option(metavar="NAME[:TAG]", help="Our image in your registry; without a tag each keeps its own."),
]
SETTINGS = Annotated[
    list[str] | None,
    typer.Option("--setting", metavar="NAME=VALUE", help="A variable of every Ray pod, such as ORCH_STORAGE."),
]
RENAMED = Annotated[str | None, typer.Option("--name", help="Of the RayJob; by default the experiment's.")]
CONTEXT = Annotated[str | None, typer.Option(help="kubectl's; by default the current one.")]
SWEEP_ONLY = Annotated[
    bool, typer.Option("--sweep-only", help="The sweep alone, as an account may that may do nothing else.")
]


def _rendered(
    overlay: str,
    *,
    experiment: str | None,
    components: list[str] | None,
    name: str | None,
    sets: list[str] | None = None,
    scale: Scale | None = None,
    trials: int | None = None,
    seed: int | None = None,
    image: str | None = None,
    settings: list[str] | None = None,
) -> str:
    from orchestrator.infra.render import Request, render

    request = Request(
        overlay,
        experiment,
        tuple(sets or ()),
        scale,
        trials,
        seed,
        tuple(components or ()),
        image,
        name,
        tuple(settings or ()),
    )
    return render(request)


def _kubectl(context: str | None) -> Kubectl:
    from orchestrator.infra.kubectl import Kubectl

    return Kubectl(context)


@infra.command()
def render(
    overlay: OVERLAY,
    *,
    experiment: EXPERIMENT = None,
    sets: SETS = None,
    scale: SCALE = None,
    trials: TRIALS = None,
    seed: SEED = None,
    components: WITH = None,
    image: IMAGE = None,
    settings: SETTINGS = None,
    name: RENAMED = None,
) -> None:
    """Print exactly what would be applied; an experiment that could not run there is refused."""
    text = _rendered(
        overlay,
        experiment=experiment,
        components=components,
        name=name,
        sets=sets,
        scale=scale,
        trials=trials,
        seed=seed,
        image=image,
        settings=settings,
    )
    typer.echo(text, nl=False)


@infra.command()
def check(
    overlays: Annotated[list[str] | None, typer.Argument(metavar="[OVERLAY]...", help="By default all.")] = None,
    *,
    components: WITH = None,
    experiment: EXPERIMENT = None,
    crds: Annotated[
        Path | None, typer.Option(metavar="DIR", help="KubeRay's full CRDs, instead of the trimmed schemas.")
    ] = None,
) -> None:
    """Hold overlays, alone and with each component, against schemas and rules; needs no cluster."""
    from orchestrator.errors import ManifestError
    from orchestrator.infra.check import check as check_all
    from orchestrator.infra.check import requests

    faults = rendered = 0
    for one in check_all(requests(overlays or (), components or (), experiment), crds):
        rendered, faults = rendered + 1, faults + len(one.findings)
        if not one.findings:
            typer.echo(f"{one.title}: ok, {one.documents} documents; {one.asks}")
        for fault in one.findings:
            typer.echo(str(fault), err=True)
    if faults:
        raise ManifestError(f"{faults} findings in {rendered} renderings")


@infra.command()
def apply(
    overlay: OVERLAY,
    *,
    experiment: EXPERIMENT = None,
    sets: SETS = None,
    scale: SCALE = None,
    trials: TRIALS = None,
    seed: SEED = None,
    components: WITH = None,
    image: IMAGE = None,
    settings: SETTINGS = None,
    name: RENAMED = None,
    context: CONTEXT = None,
    sweep_only: SWEEP_ONLY = False,
    again: Annotated[
        bool, typer.Option("--again", help="In place of a sweep of that name that has ended.")
    ] = False,
) -> None:
    """Apply what `render` prints, and make the Secrets that may be random where they are not there."""
    from orchestrator.infra.cluster import apply as applied

    text = _rendered(
        overlay,
        experiment=experiment,
        components=components,
        name=name,
        sets=sets,
        scale=scale,
        trials=trials,
        seed=seed,
        image=image,
        settings=settings,
    )
    applied(_kubectl(context), text, typer.echo, sweep_only=sweep_only, again=again)


@infra.command()
def status(*, context: CONTEXT = None) -> None:
    """Show the sweeps and pods of the namespace, and why something waits."""
    from orchestrator.infra.cluster import status as lines

    for line in lines(_kubectl(context)):
        typer.echo(line)


@infra.command()
def logs(
    sweep: Annotated[str, typer.Argument(metavar="NAME", help="Of the RayJob, as status shows it.")],
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="To its end, through every attempt; exits as it does.")
    ] = False,
    context: CONTEXT = None,
) -> None:
    """Print what a sweep prints."""
    from orchestrator.infra import follow as reading

    kubectl = _kubectl(context)
    if follow:
        raise typer.Exit(reading.follow(kubectl, sweep, lambda line: typer.echo(line, err=True)))
    raise typer.Exit(reading.logs(kubectl, sweep))


@infra.command()
def delete(
    overlay: OVERLAY,
    *,
    experiment: EXPERIMENT = None,
    components: WITH = None,
    name: RENAMED = None,
    context: CONTEXT = None,
    sweep_only: SWEEP_ONLY = False,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Also the namespace, its volumes and Secrets: MLflow's and the store's data."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete what `apply` made; volumes and Secrets stay unless --all says otherwise."""
    from orchestrator.infra.cluster import delete as deleted

    text = _rendered(overlay, experiment=experiment, components=components, name=name)
    what = (
        "the sweep" if sweep_only else "everything, with its data" if everything else "all but volumes and Secrets"
    )
    if not yes and not typer.confirm(f"delete {what} of {overlay} at {context or 'the current context'}?"):
        raise typer.Exit(1)
    typer.echo(deleted(_kubectl(context), text, sweep_only=sweep_only, everything=everything))
