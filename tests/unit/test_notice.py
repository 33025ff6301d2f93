"""Notice of an end: signals in processes of their own, checkpoints that survive it, loops that heed it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.launch.reporters import Checkpoints, StoredReporter, silent
from tests.helpers.runs import KeepingReporter, small_run, without_seconds
from tests.helpers.transfer_sets import synthetic
from trainables.errors import PreemptedError
from trainables.run import train
from trainables.storage import Storage

WORKER = """
import os, signal, sys, threading, time
from orchestrator.launch.notice import Notice

def before(number, frame):
    print("before", flush=True)
    os._exit(7)

signal.signal(signal.SIGTERM, before)
notice = Notice(seconds=float(sys.argv[2]))
notice.listen()
notice.listen()

def work():
    with notice.working():
        print("given", notice.given(), flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        while not notice.given():
            time.sleep(0.01)
        print("given", True, flush=True)
        if sys.argv[1] == "late":
            time.sleep(60)

if sys.argv[1] == "idle":
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
thread = threading.Thread(target=work, daemon=True)
thread.start()
while thread.is_alive():  # as the main thread of a worker, which looks in again and again
    thread.join(0.05)
"""


@pytest.mark.parametrize(
    ("kind", "seconds", "code", "told"),
    [
        ("idle", 30, 7, ["before"]),
        ("working", 30, 0, ["given False", "given True"]),
        ("late", 0.2, 143, ["given False", "given True"]),
    ],
)
def test_sigterm_is_a_notice_while_there_is_work(kind: str, seconds: float, code: int, told: list[str]) -> None:
    command = [sys.executable, "-c", WORKER, kind, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.splitlines()) == (code, told), done.stderr


STUCK = """
import os, signal, sys, time
from orchestrator import interrupts
interrupts.LAST_SECONDS = 0.5

def stuck():
    "As in a call that waits for a cluster which has ended."
    while True:
        try:
            if sys.argv.pop() == "stuck":
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        except KeyboardInterrupt:
            print("asked", flush=True)
            sys.argv.append("")

if sys.argv[1] == "nested":
    try:
        with interrupts.terminable():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
    except KeyboardInterrupt:
        print("ended", flush=True)
    time.sleep(2)
    sys.exit(7)
with interrupts.terminable():
    if sys.argv[1] == "last":
        interrupts.exit_in_time(lambda: print("last", flush=True))
    stuck()
"""


@pytest.mark.parametrize(
    ("kind", "code", "told"), [("nested", 7, ["ended"]), ("last", 130, ["last"]), ("stuck", 130, ["asked"])]
)
def test_after_sigterm_the_process_ends_in_time_unless_it_has_come_out(
    kind: str, code: int, told: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUCK, kind], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.splitlines()) == (code, told), done.stderr


@dataclass
class NoticedReporter(KeepingReporter):
    """Is told to end in epoch `after`, and does not end as if it had finished."""

    after: int = 2

    def should_stop(self) -> bool:
        return len(self.reports) == self.after

    def stopped(self) -> None:
        raise PreemptedError("taken away")


def test_a_run_with_notice_saves_at_once_and_goes_on_to_the_same_result(tmp_path: Path) -> None:
    data, run = synthetic(tmp_path), small_run(training={"epochs": 4})
    whole = train(run, data, KeepingReporter(kept=tmp_path / "whole"), threads=1)
    noticed = NoticedReporter(kept=tmp_path / "noticed")
    with pytest.raises(PreemptedError):
        train(run, data, noticed, threads=1, checkpoint_every_seconds=3600)
    assert (noticed.saves, [epoch for epoch, _ in noticed.reports]) == (1, [1, 2])
    later = KeepingReporter(kept=tmp_path / "noticed")
    resumed = train(run, data, later, threads=1)
    assert [epoch for epoch, _ in later.reports] == [3, 4]
    assert without_seconds(resumed.curves) == without_seconds(whole.curves)


def test_a_run_with_notice_in_its_last_epoch_just_ends(tmp_path: Path) -> None:
    noticed = NoticedReporter(kept=tmp_path / "noticed", after=4)
    result = train(small_run(training={"epochs": 4}), synthetic(tmp_path), noticed, threads=1)
    assert result.epochs == 4


@pytest.mark.parametrize(("every", "saves"), [(0.0, 2), (3600.0, 0)])
def test_a_run_that_is_ended_in_its_report_keeps_the_epoch_where_that_is_due(
    tmp_path: Path, every: float, saves: int
) -> None:
    class Ended(KeepingReporter):
        def report(self, epoch: int, metrics: object) -> None:
            if epoch == 2:
                raise SystemExit(0)

    ended = Ended(kept=tmp_path / "ended")
    with pytest.raises(SystemExit):
        train(small_run(), synthetic(tmp_path), ended, threads=1, checkpoint_every_seconds=every)
    assert ended.saves == saves


def test_a_stored_reporter_with_notice_ends_the_run(tmp_path: Path) -> None:
    checkpoints = Checkpoints(Storage(str(tmp_path / "store")), "checkpoints/00000")
    reporter = StoredReporter(silent, checkpoints, lambda: True)
    with pytest.raises(PreemptedError):
        train(small_run(), synthetic(tmp_path), reporter, threads=1)
    assert [report.epoch for report in reporter.history] == [1]
    again = StoredReporter(silent, checkpoints)
    assert train(small_run(), synthetic(tmp_path), again, threads=1).epochs == 3
    assert [report.epoch for report in again.history] == [1, 2, 3]


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_checkpoint_is_as_good_as_none(tmp_path: Path, damage: str) -> None:
    storage = Storage(str(tmp_path / "store"))
    checkpoints = Checkpoints(storage, "checkpoints/00000")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "weights").write_bytes(bytes(range(256)) * 40)
    checkpoints.save(tmp_path / "state")
    (tmp_path / "whole").mkdir()
    assert checkpoints.restore(tmp_path / "whole")
    assert (tmp_path / "whole" / "weights").read_bytes() == (tmp_path / "state" / "weights").read_bytes()
    whole = bytearray(storage.read_bytes("checkpoints/00000/state.tar"))
    whole[len(whole) // 2] ^= 1
    kept = {"cut": whole[:3000], "changed": whole, "empty": b""}[damage]
    storage.write_bytes("checkpoints/00000/state.tar", bytes(kept))
    (tmp_path / "restored").mkdir()
    assert not checkpoints.restore(tmp_path / "restored")
    assert list((tmp_path / "restored").iterdir()) == []
