"""What the driver keeps of trials that the machine ends, and of times when clocks disagree."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from orchestrator.events import Observer, Report, TrialRecord
from orchestrator.journal import Journal, trial_key
from orchestrator.launch import ledger as module
from orchestrator.launch.ledger import LOST_ATTEMPTS, Ledger
from orchestrator.launch.losses import Loss, machine_error
from orchestrator.launch.silence import STALL_SECONDS, Silence
from tests.helpers.trials import experiment
from trainables.errors import DivergedError, MachineError, PreemptedError
from trainables.storage import Storage

LOST = Loss("its process was lost: gone")
FULL = Loss("[Errno 28] No space left on device", wait=True)


class Clock:
    """Stands in for the time module of the ledger."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock(1_000.0)
    monkeypatch.setattr(module, "time", found)
    return found


def book(folder: Path, *numbers: int, **given: int) -> Ledger:
    """A ledger with these trials running."""
    spec = experiment()
    made = Ledger(Journal(Storage(str(folder / "sweep"))), Observer(), spec.search, spec.run.metric, **given)
    for number in numbers:
        made.queue(TrialRecord(number=number, role="search", params={}))
        made.start(number)
    return made


def epoch(number: int) -> Report:
    return Report(epoch=number, metrics={"dev/weighted_f1": number / 10})


def test_a_lost_trial_is_queued_again_and_fails_when_it_was_lost_too_often(tmp_path: Path) -> None:
    made = book(tmp_path, 0)
    for _ in range(LOST_ATTEMPTS):
        made.lose(0, LOST)
        assert [record.number for record in made.ready()] == [0]
        made.start(0)
    made.lose(0, LOST)
    record = made.records[0]
    assert (record.state, record.machine, record.attempts) == ("failed", True, LOST_ATTEMPTS + 1)
    assert record.reason == f"{LOST.reason} ({LOST_ATTEMPTS + 1} times)"
    assert (record.finished, record.settled) == (True, False)


def test_a_trial_that_comes_further_each_time_may_be_lost_often(tmp_path: Path) -> None:
    made = book(tmp_path, 0)
    for attempt in range(1, 10):
        made.report(0, [epoch(number) for number in range(1, attempt + 1)])  # what was told is told again
        made.lose(0, LOST)
        assert made.records[0].state == "queued"
        made.start(0)
    for _ in range(LOST_ATTEMPTS):
        made.report(0, [epoch(number) for number in range(1, 10)])
        made.lose(0, LOST)
    assert made.records[0].state == "failed"


def test_the_next_driver_tries_again_what_the_machine_made_fail_and_nothing_else(tmp_path: Path) -> None:
    made = book(tmp_path, 0, 1, 2)
    made.finish(0, "failed", LOST.reason, machine=True)
    made.finish(1, "failed", "epoch 2: loss/kd is nan")
    made.finish(2, "completed", values={"weighted_f1": 0.5})
    again = book(tmp_path)
    assert [record.number for record in again.waiting()] == [0]
    assert (again.records[0].reason, again.records[0].machine, again.records[0].ended) == ("", False, 0.0)
    assert again.records[1].reason == "epoch 2: loss/kd is nan"


def test_a_silent_trial_fails_for_good(tmp_path: Path) -> None:
    made = book(tmp_path, 0)
    for _ in range(LOST_ATTEMPTS + 1):
        made.lose(0, Loss("it told nothing", machine=False))
    assert (made.records[0].state, made.records[0].settled) == ("failed", True)


def test_losses_with_notice_do_not_count(tmp_path: Path) -> None:
    made = book(tmp_path, 0, losses_in_a_row=100)
    for _ in range(20):
        made.lose(0, Loss("its machine is being taken away", counts=False))
    assert made.records[0].state == "queued"


def test_what_is_lost_after_its_end_keeps_its_end(tmp_path: Path) -> None:
    made = book(tmp_path, 0)
    made.finish(0, "completed", values={"weighted_f1": 0.5})
    made.lose(0, LOST)
    assert made.records[0].state == "completed"
    assert made.waiting() == []


def test_after_a_full_disk_a_trial_waits_longer_each_time(tmp_path: Path, clock: Clock) -> None:
    made = book(tmp_path, 0)
    for wait in (10.0, 20.0):
        made.lose(0, FULL)
        clock.now += wait - 0.1
        assert made.ready() == []
        clock.now += 0.2
        assert [record.number for record in made.ready()] == [0]


def test_where_every_attempt_is_lost_the_sweep_ends_and_says_why(tmp_path: Path) -> None:
    made = book(tmp_path, *range(9), losses_in_a_row=4)
    for number in (0, 1, 2):
        made.lose(number, FULL)
    made.report(8, [epoch(1)])
    for number in (3, 4, 5):
        made.lose(number, FULL)
        assert not made.closing
    made.lose(6, FULL)
    assert made.closing
    with pytest.raises(MachineError, match=r"4 attempts of trials in a row .* No space left"):
        raise made.fault or AssertionError
    assert {record.state for record in made.waiting()} == {"queued", "running"}


@pytest.mark.parametrize("jump", [-3600.0, 0.0, 5.0])
def test_times_of_a_record_never_run_backwards(tmp_path: Path, clock: Clock, jump: float) -> None:
    made = book(tmp_path, 0)
    made.report(0, [epoch(1)])
    clock.now += 100
    made.report(0, [epoch(2)])
    clock.now += jump
    made.report(0, [epoch(3)])
    made.finish(0, "completed", values={"weighted_f1": 0.3})
    (record,) = Journal(Storage(str(tmp_path / "sweep"))).read()
    times = [record.started, *(report.at for report in record.reports), record.ended]
    assert times == sorted(times)
    assert record.ended == max(clock.now, 1_100.0)


def test_a_journal_that_cannot_be_written_ends_the_sweep_as_what_it_is(tmp_path: Path) -> None:
    made = book(tmp_path, 0)
    folder = tmp_path / "sweep" / trial_key(0)
    folder.unlink()
    folder.mkdir()  # root may write to whatever is merely forbidden
    with pytest.raises(MachineError, match="directory"):
        made.report(0, [epoch(1)])
        made.finish(0, "completed")
    assert made.fault is not None
    made.interrupt()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), "No space left"),
        (OSError(errno.EIO, "Input/output error"), "Input/output"),
        (RuntimeError('IoError(Os { code: 28, message: "No space left on device" })'), "No space left"),
        (PreemptedError("taken away"), "taken away"),
    ],
)
def test_the_machines_faults_are_known(error: Exception, told: str) -> None:
    wrapped = RuntimeError("while saving")
    wrapped.__cause__ = error
    for one in (error, wrapped):
        found = machine_error(one)
        assert found is not None and told in str(found)
    assert isinstance(machine_error(PreemptedError("x")), PreemptedError)


@pytest.mark.parametrize(
    "error", [DivergedError("loss is nan"), FileNotFoundError(errno.ENOENT, "x"), ZeroDivisionError("x")]
)
def test_a_trials_own_faults_are_not_the_machines(error: Exception) -> None:
    assert machine_error(error) is None


def test_silence_is_told_once_and_only_of_the_silent() -> None:
    clock = Clock(0.0)
    silence: Silence[str] = Silence(60.0, clock.monotonic)
    silence.heard("a")
    silence.heard("b")
    told: list[str] = []
    for second in range(1, 200):
        clock.now = float(second)
        if second % 30 == 0:
            silence.heard("b")
        told += silence.overdue()
    assert told == ["a"]


def test_a_driver_that_was_held_up_has_not_listened() -> None:
    clock = Clock(0.0)
    silence: Silence[str] = Silence(60.0, clock.monotonic)
    silence.heard("a")
    for _ in range(int(60 / STALL_SECONDS)):
        clock.now += 3600
        assert silence.overdue() == []
    clock.now += 3600
    assert silence.overdue() == ["a"]


def test_without_a_limit_silence_is_for_ever() -> None:
    clock = Clock(0.0)
    silence: Silence[str] = Silence(0.0, clock.monotonic)
    silence.heard("a")
    for _ in range(1000):
        clock.now += 3600
        assert silence.overdue() == []
