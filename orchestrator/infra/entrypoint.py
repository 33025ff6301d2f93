"""The command of a RayJob: `orch-entrypoint sweep NAME ...`, read and written as a shell reads it.

The operator pastes it into the submitter's shell, and Ray quotes it anew for the head's, so that what is quoted
once arrives whole.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, cast, get_args

from orchestrator.errors import ManifestError
from orchestrator.experiment import Scale

COMMANDS = (("orch-entrypoint", "sweep"), ("orch", "sweep"))


@dataclass(frozen=True)
class Entrypoint:
    command: tuple[str, ...]
    name: str
    """An experiment's, or the path of its YAML in the container."""
    scale: Scale | None = None
    trials: int | None = None
    seed: int | None = None
    sets: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    """Options that say nothing of what runs."""

    def text(self) -> str:
        words = [*self.command, self.name]
        for option, value in (("--scale", self.scale), ("--trials", self.trials), ("--seed", self.seed)):
            words += [option, str(value)] if value is not None else []
        for change in self.sets:
            words += ["--set", change]
        return shlex.join([*words, *self.rest])

    def changed(self, **changes: Any) -> Entrypoint:
        """With what is given; further `sets` come after those that are there."""
        sets = (*self.sets, *changes.pop("sets", ()))
        return replace(self, sets=sets, **{name: value for name, value in changes.items() if value is not None})

    @property
    def all_sets(self) -> list[str]:
        """With what `--seed` stands for."""
        seed = [] if self.seed is None else [f"run.seed={self.seed}", f"search.seed={self.seed}"]
        return [*self.sets, *seed]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ManifestError(message)


def _parser() -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("name")
    parser.add_argument("--scale", choices=get_args(Scale))
    parser.add_argument("--set", dest="sets", action="append", default=[])
    for option in ("--trials", "--seed", "--concurrency"):
        parser.add_argument(option, type=int)
    parser.add_argument("--storage")
    for option in ("--fresh", "--json", "--plain"):
        parser.add_argument(option, action="store_true")
    return parser


def parse(text: str) -> Entrypoint:
    """ManifestError where it is not the sweep of an experiment with options that `orch sweep` has."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ManifestError(f"a shell cannot read it: {error}") from error
    if tuple(words[:2]) not in COMMANDS:
        raise ManifestError(f"it begins with {shlex.join(words[:2])!r}, not with 'orch-entrypoint sweep'")
    given = _parser().parse_args(words[2:])
    rest = [word for name in ("concurrency", "storage") for word in _option(name, getattr(given, name))]
    rest += [f"--{name}" for name in ("fresh", "json", "plain") if getattr(given, name)]
    scale = cast("Scale | None", given.scale)
    return Entrypoint(tuple(words[:2]), given.name, scale, given.trials, given.seed, tuple(given.sets), tuple(rest))


def options() -> set[str]:
    """What an entrypoint may say, to be held against `orch sweep`."""
    return {option for action in _parser()._actions for option in action.option_strings}


def _option(name: str, value: object) -> Sequence[str]:
    return () if value is None else (f"--{name}", str(value))
