"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Scale = Literal["laptop", "full"]

NAME = Annotated[str, typer.Argument(help="An experiment of search_spaces/, or the path of a YAML file.")]
SCALE = Annotated[Scale | None, typer.Option(help="Which overlay to use; by default full with a cluster or a GPU.")]
SETS = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a field, by its dotted path.")
]
TRIALS = Annotated[int | None, typer.Option(min=1, help="Trials in all; more than before extend a sweep.")]
FRESH = Annotated[bool, typer.Option("--fresh", help="Start the search anew; earlier stages are reused.")]
SEED = Annotated[int | None, typer.Option(min=0, help="Of the runs and of the search.")]
STORAGE = Annotated[str | None, typer.Option(metavar="URL", help="Storage root: a folder or any fsspec URL.")]
JOB = Annotated[str | None, typer.Argument(metavar="[ID]", help="Of a job; by default the one of yours that runs.")]
JSON = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, all else on stderr.")]


def with_seed(sets: list[str] | None, seed: int | None) -> list[str]:
    """The changes of `--set`, and after them what `--seed` stands for."""
    return [*(sets or ()), *([] if seed is None else [f"run.seed={seed}", f"search.seed={seed}"])]
