"""One trial in its process: plain data in, epochs and a final marker out through Tune.

The process is used for many trials: it imports torch once and maps the transfer set once. Whatever goes wrong in
a trial becomes its outcome with a reason in one line; only what the machine does to it reaches Tune, as an error or
as the loss of the process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from orchestrator.events import Report
from orchestrator.experiment import COSTS, Objective
from orchestrator.journal import checkpoint_prefix, predictions_key
from orchestrator.launch.error_lines import first_line
from orchestrator.launch.folds import work_over_folds
from orchestrator.launch.losses import machine_error
from orchestrator.launch.messages import Outcome, outcome_message, reports_message
from orchestrator.launch.metrics import show_cache, show_storage
from orchestrator.launch.nodes import own_cache
from orchestrator.launch.notice import NOTICE
from orchestrator.launch.reporters import Checkpoints, StoredReporter
from orchestrator.resources import TrialResources
from orchestrator.space import with_values
from trainables.errors import OrchError, PreemptedError
from trainables.reporter import Reporter
from trainables.spec import RunSpec
from trainables.storage import Storage

if TYPE_CHECKING:
    from trainables.evaluation import Predictions
    from trainables.run import TrainResult
    from trainables.transfer_set import TransferSet


class TrialJob(BaseModel):
    """What every trial of a sweep shares."""

    model_config = ConfigDict(frozen=True)

    run: RunSpec
    objectives: list[Objective]
    storage: str
    """The storage root, absolute."""
    sweep: str
    transfer_sets: list[str]
    """One a fold of `run.folds`, in order."""
    cache: str
    resources: TrialResources
    checkpoint_seconds: float = 10.0
    """Least time between two checkpoints of a trial: a short trial writes none."""

    @property
    def sweep_storage(self) -> Storage:
        return Storage(self.storage).at(self.sweep)

    def transfer_set(self, fold: int | None) -> str:
        return dict(zip(self.run.folds, self.transfer_sets, strict=True))[fold]

    def checkpoints(self, number: int) -> Checkpoints:
        return Checkpoints(self.sweep_storage, checkpoint_prefix(number))


Work = Callable[[TrialJob, RunSpec, int, Reporter], dict[str, float]]
"""What a trial does in one fold, or in the one split that there is: trains `run`, reports, leaves trial `number`'s
predictions; returns its objectives' values."""


def run_trial(config: dict[str, Any], work: Work) -> None:
    """The Tune function for trials of one worker. `config` holds job, number, params, overrides.

    Raises MachineError where the machine failed or is taken away: that is no outcome.
    """
    from ray import tune

    job, number = TrialJob.model_validate(config["job"]), int(config["number"])
    show_storage()

    def tell(reports: list[Report]) -> None:
        tune.report(reports_message(reports))

    with NOTICE.working():
        reporter = StoredReporter(tell, job.checkpoints(number), NOTICE.given)
        tune.report(outcome_message(outcome_of_trial(job, config, reporter, work)))
        if NOTICE.given():
            raise PreemptedError("its machine is being taken away")  # so that the process is not used again


def outcome_of_trial(
    job: TrialJob, config: dict[str, Any], reporter: Reporter, work: Work, *, first: bool = True
) -> Outcome:
    """Do the work; an error is an outcome, save for the machine's, which is raised as a MachineError.

    (A stop by the scheduler is a SystemExit in `report`, and passes.)
    """
    try:
        run = with_values(job.run, {**config["params"], **config["overrides"]})
        values = work_over_folds(job, run, int(config["number"]), reporter, work, first=first)
    except Exception as error:
        machines = machine_error(error)
        if machines is not None:
            raise machines from error
        return Outcome(state="failed", reason=reason_of(error))
    wrong = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
    return Outcome(state="failed", reason="; ".join(wrong)) if wrong else Outcome(state="completed", values=values)


def reason_of(error: BaseException) -> str:
    """One line: our own errors speak for themselves, others are named."""
    text = first_line(error)
    return (
        text if isinstance(error, OrchError) or text == type(error).__name__ else f"{type(error).__name__}: {text}"
    )


def student_work(job: TrialJob, run: RunSpec, number: int, reporter: Reporter) -> dict[str, float]:
    """Train the student on the transfer set that this node has of the fold."""
    from trainables.run import train
    from trainables.world import World

    data = transfer_set(job.storage, job.transfer_set(run.fold), job.cache)
    result = train(
        run,
        data,
        reporter,
        device=job.resources.device,
        threads=job.resources.threads,
        checkpoint_every_seconds=job.checkpoint_seconds,
    )
    show_cache(own_cache(job.cache) / "transfer_sets")
    if World.current().rank == 0:
        key = predictions_key(number, run.fold if len(job.transfer_sets) > 1 else None)
        write_predictions(job.sweep_storage, key, data, result.dev)
    return {objective.metric: _value(objective.metric, run, data, result) for objective in job.objectives}


@lru_cache(maxsize=32)
def transfer_set(storage: str, fingerprint: str, cache: str) -> TransferSet:
    """Mapped once a process, decoded once a node; every fold's stays mapped, which costs no memory."""
    from trainables.transfer_set import TransferSet

    return TransferSet.fetched(Storage(storage), fingerprint, own_cache(cache) / "transfer_sets")


def write_predictions(storage: Storage, key: str, data: TransferSet, dev: Predictions) -> None:
    """One row a dev utterance: uid, label (or targets [C]), logits [C]."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    truth = {"targets": list(dev.labels)} if data.multi_label else {"label": dev.labels}
    table = pa.table({"uid": data.uid[dev.index].tolist(), **truth, "logits": list(dev.logits)})
    with TemporaryDirectory(prefix="orch-trial-") as folder:
        pq.write_table(table, Path(folder) / "dev.parquet", compression="zstd", write_page_checksum=True)
        storage.upload(Path(folder) / "dev.parquet", key)


def _value(metric: str, run: RunSpec, data: TransferSet, result: TrainResult) -> float:
    if metric not in COSTS:
        return result.curves[result.best_epoch - 1][f"dev/{metric}"]
    if metric == "parameters":
        return float(result.parameters)
    from trainables.evaluation import latency
    from trainables.run import load_student

    return latency(load_student(run, data, result.student_state), data).p50_ms
