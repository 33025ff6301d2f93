"""The sweep: Tune runs the trials, the journal remembers them, and the same call goes on after any end."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.errors import Interrupted, StageError
from orchestrator.events import Observer, TrialRecord
from orchestrator.experiment import ExperimentSpec
from orchestrator.interrupts import exit_in_time
from orchestrator.journal import Journal
from orchestrator.launch.error_lines import last_line
from orchestrator.launch.growth import wanted
from orchestrator.launch.ledger import Ledger
from orchestrator.launch.placement import Cluster, concurrency, current
from orchestrator.launch.ray_folder import ray_folder
from orchestrator.launch.shapes import bundle
from orchestrator.launch.trial import TrialJob, Work, student_work
from orchestrator.launch.tuner import fit_here
from trainables.storage import Storage

LOSSES_IN_A_ROW = 4
"""Lost attempts without an epoch of any trial in between that end a sweep, besides two of each trial at once."""


@dataclass(frozen=True)
class SweepPlan:
    spec: ExperimentSpec
    storage: str
    """The storage root."""
    sweep: str
    """Key of the sweep's folder below it."""
    transfer_sets: tuple[str, ...]
    """One a fold of `spec.run.folds`, in order."""
    cache: str
    trials: int
    """In all, those of earlier calls among them."""
    concurrency: int | None
    checkpoint_seconds: float = 10.0
    guard: Callable[[], None] = lambda: None
    """Raises where another driver has taken the sweep over."""


def run_sweep(plan: SweepPlan, observer: Observer, *, work: Work = student_work) -> list[TrialRecord]:
    """Bring the sweep to `plan.trials` finished trials and seal its journal; returns them by number.

    Needs a connected cluster. Finished trials are not run again; those without an end are, from their
    checkpoints, and those that the machine made fail. Raises Interrupted after Ctrl-C or SIGTERM with the journal
    in order, SettingsError where no trial can ever be placed, and MachineError where no trial gets anywhere.
    """
    storage = Storage(plan.storage)
    journal = Journal(storage.at(plan.sweep), plan.guard)
    parallel = concurrency(current(), plan.spec.resources.trial, plan.concurrency, "trial")
    ledger = Ledger(
        journal, observer, plan.spec.search, plan.spec.run.metric, losses_in_a_row=LOSSES_IN_A_ROW + 2 * parallel
    )
    job = TrialJob(
        run=plan.spec.run,
        objectives=plan.spec.search.objectives,
        storage=storage.root,
        sweep=plan.sweep,
        transfer_sets=list(plan.transfer_sets),
        cache=str(Path(plan.cache).expanduser().absolute()),
        resources=plan.spec.resources.trial,
        checkpoint_seconds=plan.checkpoint_seconds,
    )
    _tune(plan, ledger, job, work, parallel)
    journal.seal(ledger.ordered())
    lost = [record for record in ledger.ordered() if not record.settled]
    if lost:
        observer.message(
            f"{len(lost)} trials failed because of the machine, the first, {lost[0].name}: {lost[0].reason}; "
            "the same command tries them again",
            "warning",
        )
    return ledger.ordered()


def _tune(plan: SweepPlan, ledger: Ledger, job: TrialJob, work: Work, parallel: int) -> None:
    """Run what is left under Tune; leaves every trial finished, or queued and Interrupted raised."""
    from ray import tune

    from orchestrator.launch.callback import JournalCallback
    from orchestrator.launch.scheduler import scheduler_for
    from orchestrator.launch.searcher import JournalSearch

    search = JournalSearch(ledger, plan.spec, plan.trials, parallel)
    if not search.remaining:
        return
    cluster, alone = current(), job.resources.workers == 1  # of a group Ray Train says itself what it wants
    with (
        wanted(cluster, [bundle(job.resources)] * min(parallel, search.remaining) if alone else []),
        ray_folder("orch-tune-") as folder,
        _stopper(ledger) as stopper,
        pending(parallel),
        _quiet(),
    ):
        fit = partial(
            fit_here,
            _trainable(job, cluster, work),
            param_space={"job": job.model_dump(mode="json")},
            tune_config=tune.TuneConfig(
                search_alg=search,
                scheduler=scheduler_for(ledger, plan.spec),
                num_samples=-1,  # the searcher says when there is nothing left
                reuse_actors=alone,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                **folder,
                callbacks=[JournalCallback(ledger, search, job.resources.silent_minutes)],
                stop=stopper,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )
        try:
            fit()
        except Exception as error:
            if not ledger.closing:  # the cluster may have been told to end as well
                raise ledger.fault or StageError(f"the sweep ended early: {last_line(error)}") from error
        finally:
            ledger.interrupt()
    _raise_unless_ended(ledger)


def _raise_unless_ended(ledger: Ledger) -> None:
    """Why trials are left, where any are."""
    if ledger.fault:
        raise ledger.fault
    if ledger.closing:
        raise Interrupted(f"stopped with {len(ledger.waiting())} trials unfinished; the same command goes on")
    if ledger.waiting():
        numbers = ", ".join(str(record.number) for record in ledger.waiting())
        raise StageError(f"Tune ended without an end of trials {numbers}; the same command goes on with them")


def _trainable(job: TrialJob, cluster: Cluster, work: Work) -> Any:
    """The Tune function with what it reserves: its CPUs, or next to nothing where it only waits for a group."""
    from ray import tune

    from orchestrator.launch.listening_trial import ListeningTrial

    if job.resources.workers > 1:
        from orchestrator.launch.train_worker import run_trial_group

        def grouped(config: dict[str, Any]) -> None:
            run_trial_group(config, work)

        return tune.with_resources(grouped, cluster.driver_reservation())

    def single(config: dict[str, Any]) -> None:
        from orchestrator.launch.trial import run_trial

        run_trial(config, work)

    single.__mixins__ = (ListeningTrial,)  # type: ignore[attr-defined]
    return tune.with_resources(single, bundle(job.resources))


def _name(trial: Any) -> str:
    return f"trial-{int(trial.config['number']):04d}-{trial.trial_id}"


@contextmanager
def _stopper(ledger: Ledger) -> Iterator[Any]:
    """A Tune stopper by the ledger, which the first SIGINT or SIGTERM closes; a second one is a KeyboardInterrupt
    at once. After SIGTERM the journal is in order in time, whatever Tune still waits for."""
    from ray.tune import Stopper

    class Signalled(Stopper):  # type: ignore[misc]
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return ledger.closing

        def __reduce__(self) -> Any:
            return str, ()

    stopper = Signalled()

    def handle(number: int, frame: Any) -> None:
        if ledger.closing:
            raise KeyboardInterrupt
        ledger.closing = True
        if number == signal.SIGTERM:
            exit_in_time(ledger.interrupt)

    if threading.current_thread() is not threading.main_thread():
        yield stopper
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopper
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def pending(trials: int) -> Iterator[None]:
    """Let so many trials wait for their processes at once.

    Tune lets one wait where the searcher is not its own, and gives it the first process that a trial leaves: of
    short trials no more than two would ever run side by side, whatever room there is.
    """
    name = "TUNE_MAX_PENDING_TRIALS_PG"
    before = os.environ.get(name)
    os.environ[name] = before or str(trials)
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]


@contextmanager
def _quiet() -> Iterator[None]:
    """Tune's own words go nowhere: what it knows is in the records."""
    loggers = [logging.getLogger(name) for name in ("ray.tune", "ray.train", "ray.air")]
    before = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in before:
            logger.setLevel(level)
