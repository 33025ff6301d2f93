"""`orch sweep` in a process of its own, watched by what it prints."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from orchestrator.candidates import trial_run
from orchestrator.events import TrialRecord
from orchestrator.experiment import ExperimentSpec
from tests.helpers.services.process import end, launch
from trainables.artifacts import read_record
from trainables.reporter import ListReporter
from trainables.run import train
from trainables.storage import Storage
from trainables.transfer_set import TransferSet, materialise

T = TypeVar("T")

SMALL = {
    "run.corpus.utterances": "210",
    "run.training.epochs": "3",
    "run.teachers.audio.training.epochs": "2",
    "run.teachers.text.training.epochs": "1",
    "run.teachers.fusion.training.epochs": "1",
    "search.scheduler.grace_epochs": "2",
    "resources.teacher.cpus": "1",
    "confirm.top": "1",
    "confirm.seeds": "2",
    "confirm.resamples": "200",
    "confirm.mc_passes": "3",
    "confirm.robustness": "{snr: [10], words_dropped: [0.3], words_substituted: []}",
}
"""`cmd-meld` on the stand-in in a minute or two."""


class Driver:
    """One life of `orch COMMAND`; its output is in `log`."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path, host: str | None = None
    ) -> None:
        """`host`: the name by which the process knows its machine, as if it were another one."""
        command = [sys.executable, "-u", "-m", "orchestrator.cli", *arguments]
        if host is not None:
            command = ["unshare", "--uts", "sh", "-c", f'hostname {host} && exec "$@"', "sh", *command]
        self.log = log
        self.process: subprocess.Popen[bytes] = launch(command, log, environment)

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, pattern: str, seconds: float = 300) -> str:
        """The first line that matches; fails with what was printed where the process ends without one."""
        return self.until(lambda: re.search(rf"^.*{pattern}.*$", self.text(), re.MULTILINE), pattern, seconds)[0]

    def until(self, found: Callable[[], T | None], what: str, seconds: float = 300) -> T:
        end_of_patience = time.monotonic() + seconds
        while time.monotonic() < end_of_patience:
            ended = self.process.poll()
            value = found()
            if value:
                return value
            assert ended is None, f"ended with {ended} before {what!r}:\n{self.text()[-4000:]}"
            time.sleep(0.1)
        raise AssertionError(f"no {what!r} in {seconds} s:\n{self.text()[-4000:]}")

    def kill(self) -> None:
        """As a lost machine does: no warning, no last word."""
        end(self.process, signal.SIGKILL)

    def wait(self, seconds: float = 600) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.text()[-4000:]}") from None


def sets(values: Mapping[str, str]) -> list[str]:
    return [word for path, value in values.items() for word in ("--set", f"{path}={value}")]


def undisturbed(storage: Storage, sweep: str, trial: TrialRecord, cache: Path) -> list[float]:
    """The trial's score on dev by epoch, from its configuration and seed alone: trained here, in one go."""
    record = read_record(storage, f"sweeps/{sweep}")
    assert record is not None
    spec = ExperimentSpec.model_validate(record.spec)
    (transfer_set,) = record.reads.values()
    run = trial_run(spec, trial)
    reporter = ListReporter(stop_after=trial.epochs)
    train(run, TransferSet.open(materialise(storage, transfer_set, cache)), reporter, device="cpu", threads=1)
    return [metrics[f"dev/{run.metric}"] for _, metrics in reporter.reports]
