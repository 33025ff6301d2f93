"""One trial of several workers: the Tune function only waits, a Ray Train group does the work.

The first worker tells each epoch and the outcome; the Tune function passes them on, so that Tune sees a trial of
several workers as it sees one of one. When the scheduler stops the trial, its process ends, the workers with it,
and the driver gives back what they had reserved.
"""

from __future__ import annotations

from typing import Any

from orchestrator.events import Report
from orchestrator.launch.error_lines import first_line
from orchestrator.launch.group import Message, Tell, run_group
from orchestrator.launch.messages import Outcome, group_message, outcome_message, reports_message
from orchestrator.launch.metrics import show_storage
from orchestrator.launch.notice import NOTICE
from orchestrator.launch.reporters import StoredReporter, silent
from orchestrator.launch.trial import TrialJob, Work, outcome_of_trial
from trainables.errors import MachineError


def run_trial_group(config: dict[str, Any], work: Work) -> None:
    """The Tune function for trials of several workers. `config` holds job, number, params, overrides.

    Raises MachineError where a worker was lost or its machine failed: the driver counts, and starts the trial anew.
    """
    from ray import tune

    job = TrialJob.model_validate(config["job"])
    ended: list[Outcome] = []

    def pass_on(message: Message) -> None:
        if "outcome" in message:
            ended.append(Outcome.model_validate(message["outcome"]))
        else:
            tune.report(reports_message([Report.model_validate(report) for report in message["reports"]]))

    def on_group(group: str) -> None:
        tune.report(group_message(group))

    try:
        run_group(trial_worker, {"config": config, "work": work}, job.resources, pass_on, on_group, lost=0)
    except MachineError:
        raise
    except Exception as error:
        ended.append(Outcome(state="failed", reason=first_line(error)))
    tune.report(
        outcome_message(ended[-1] if ended else Outcome(state="failed", reason="its workers ended silently"))
    )


def trial_worker(task: dict[str, Any], rank: int, tell: Tell) -> None:
    """What every worker of the group runs; all train, the first one tells."""
    config = task["config"]
    job = TrialJob.model_validate(config["job"])
    show_storage()

    def told(reports: list[Report]) -> None:
        tell({"reports": [report.model_dump() for report in reports]})

    checkpoints = job.checkpoints(int(config["number"]))
    reporter = StoredReporter(told if rank == 0 else silent, checkpoints, NOTICE.given)
    outcome = outcome_of_trial(job, config, reporter, task["work"], first=rank == 0)
    tell({"outcome": outcome.model_dump()})
