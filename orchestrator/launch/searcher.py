"""Where the next trial lies: TPE over the space, asked afresh for every trial from the records alone.

Ray's OptunaSearch keeps a study beside the results and loses touch with them: a trial stopped early counts as
complete, a NaN leaves its trial running for ever, a restart repeats or forgets trials. Here the study is built
from the trial records, by number, whenever a suggestion is due, and the sampler is seeded by the sweep's seed and
the trial's number. What is suggested is thus a function of the records: after a restart, the same.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from orchestrator.controls import without_teachers
from orchestrator.events import TrialRecord
from orchestrator.experiment import ExperimentSpec, SearchSpec
from orchestrator.launch.ledger import Ledger
from orchestrator.scores import scores_by_epoch
from orchestrator.space import Distribution, Float, Int, Space, active, default_point, fixed_values, ordered
from trainables.spec import RunSpec

_STATES = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


class _Ended(FrozenTrial):  # type: ignore[misc]
    """Nothing in it is changed by a study but its number, so that a copy may share the rest."""

    def __deepcopy__(self, memo: Any) -> FrozenTrial:
        return copy.copy(self)


Known = dict[int, FrozenTrial]
"""Trials that have ended, by number, as Optuna sees them."""


def suggestion(
    spec: ExperimentSpec, records: Sequence[TrialRecord], number: int, known: Known | None = None
) -> TrialRecord:
    """Trial `number` of a sweep whose other trials are `records`: the default, the control, or what TPE says.

    `known` saves work where the same sweep is asked for again and again.
    """
    if number == 0:
        return TrialRecord(number=0, role="default", params=default_point(spec.search.space, spec.run))
    if number == 1 and spec.run.method.type != "supervised":
        return TrialRecord(number=1, role="control", params={}, overrides=without_teachers(spec.run))
    study = study_of(spec.search, records, spec.run.metric, sampler(spec.search, number), known)
    trial = study.ask()
    define(spec.search.space, spec.run)(trial)
    return TrialRecord(number=number, role="search", params=dict(trial.params))


def study_of(
    search: SearchSpec,
    records: Sequence[TrialRecord],
    metric: str,
    sampler: optuna.samplers.BaseSampler | None = None,
    known: Known | None = None,
) -> optuna.Study:
    """An Optuna study of every trial but the control, by number, whatever the order they ended in."""
    _quiet()
    directions = ["maximize" if o.direction == "max" else "minimize" for o in search.objectives]
    study = optuna.create_study(directions=directions, sampler=sampler)
    for record in sorted(records, key=lambda r: r.number):
        if record.role != "control":
            study.add_trial(_frozen(search, record, metric, {} if known is None else known))
    return study


def _frozen(search: SearchSpec, record: TrialRecord, metric: str, known: Known) -> FrozenTrial:
    """From `known` where the trial has ended: it does not change any more."""
    if record.number in known:
        return known[record.number]
    trial = frozen(search, record, metric)
    if record.finished:
        known[record.number] = trial
    return trial


def frozen(search: SearchSpec, record: TrialRecord, metric: str) -> FrozenTrial:
    """One record as Optuna sees it. A completed trial without all its objectives, finite, counts as failed."""
    state = _STATES.get(record.state, TrialState.RUNNING)
    values = [record.values.get(objective.metric, math.nan) for objective in search.objectives]
    if state == TrialState.COMPLETE and not all(math.isfinite(value) for value in values):
        state = TrialState.FAIL
    steps: dict[int, float] = {}
    if state == TrialState.PRUNED and len(values) == 1:
        steps = scores_by_epoch(record.reports, metric, search.objectives[0].metric)
    params = _inside(search.space, record.params)
    started = datetime.fromtimestamp(record.started or 0, UTC).replace(tzinfo=None)
    ended = datetime.fromtimestamp(record.ended or 0, UTC).replace(tzinfo=None)
    return _Ended(
        number=record.number,
        trial_id=record.number,
        state=state,
        value=None,
        values=values if state == TrialState.COMPLETE else None,
        params=params,
        distributions={path: distribution_of(search.space[path]) for path in params},
        intermediate_values=steps,
        datetime_start=started,
        datetime_complete=ended if state.is_finished() else None,
        user_attrs={"number": record.number},
        system_attrs={},
    )


def sampler(search: SearchSpec, number: int) -> optuna.samplers.TPESampler:
    """TPE that models paths which occur together jointly, and takes running trials for bad ones."""
    _quiet()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            n_startup_trials=search.startup_trials,
            multivariate=True,
            group=True,
            constant_liar=True,
            seed=trial_seed(search.seed, number),
        )


def trial_seed(seed: int, number: int) -> int:
    """A seed of 32 bits for trial `number` of a sweep."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4], "big")


def distribution_of(distribution: Distribution) -> BaseDistribution:
    if isinstance(distribution, Float):
        return FloatDistribution(distribution.low, distribution.high, log=distribution.log, step=distribution.step)
    if isinstance(distribution, Int):
        return IntDistribution(distribution.low, distribution.high, log=distribution.log, step=distribution.step)
    return CategoricalDistribution(distribution.values)


def define(space: Space, run: RunSpec) -> Any:
    """The space as Optuna's define-by-run function: a path is suggested only while its conditions hold."""
    fixed = fixed_values(space, run)

    def suggest(trial: Any) -> None:
        values: dict[str, Any] = dict(fixed)
        for path in ordered(space):
            one = space[path]
            if not active(one, values):
                continue
            if isinstance(one, Float):
                values[path] = trial.suggest_float(path, one.low, one.high, log=one.log, step=one.step)
            elif isinstance(one, Int):
                values[path] = trial.suggest_int(path, one.low, one.high, log=one.log, step=one.step)
            else:
                values[path] = trial.suggest_categorical(path, one.values)

    return suggest


class JournalSearch(OptunaSearch):  # type: ignore[misc]
    """Hands Tune the trials that are left over, then new ones up to `total`, at most `concurrency` at a time.

    A trial whose attempt was lost is queued by the ledger, and handed out anew before any other.
    """

    def __init__(self, ledger: Ledger, spec: ExperimentSpec, total: int, concurrency: int) -> None:
        _quiet()
        objectives = spec.search.objectives
        names, modes = [o.metric for o in objectives], [o.direction for o in objectives]
        super().__init__(space=define(spec.search.space, spec.run), metric=names, mode=modes)
        self._ledger, self._spec, self._total, self._concurrency = ledger, spec, total, concurrency
        self._live: dict[str, int] = {}
        self._known: Known = {}

    @property
    def remaining(self) -> int:
        """Trials without an end, those among them that do not exist yet."""
        return len(self._ledger.waiting()) + max(0, self._total - len(self._ledger.records))

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._ledger.closing or not self.remaining:
            return str(Searcher.FINISHED)
        number = self._next() if len(self._live) < self._concurrency else None
        if number is None:
            return None
        self._live[trial_id] = number
        record = self._ledger.records[number]
        return {"number": number, "params": record.params, "overrides": record.overrides}

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Nothing to keep: the ledger has it."""

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        self._live.pop(trial_id, None)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing to save: the journal is the state."""

    def __reduce__(self) -> Any:
        return self._ledger.__reduce__()

    def _next(self) -> int | None:
        """A trial without an end that nobody runs, else a new one; None where none may be started now."""
        live = set(self._live.values())
        left = [record.number for record in self._ledger.ready() if record.number not in live]
        if left:
            return left[0]
        return self._new() if len(self._ledger.records) < self._total else None

    def _new(self) -> int:
        records = self._ledger.ordered()
        number = next(n for n in range(len(records) + 1) if n not in self._ledger.records)
        self._ledger.queue(suggestion(self._spec, records, number, self._known))
        return number


def _inside(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that their distributions can hold: a default may lie off a step or outside its range."""
    found = {}
    for path, value in params.items():
        if path in space:
            distribution = distribution_of(space[path])
            try:
                inside = distribution._contains(distribution.to_internal_repr(value))
            except ValueError:
                continue
            if inside:
                found[path] = value
    return found


def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("optuna").setLevel(logging.ERROR)
