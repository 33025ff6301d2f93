"""One driver a sweep: who gets it, who is refused, who is followed, and who has to end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import LeaseLostError, SweepHeldError
from orchestrator.interrupts import terminable
from orchestrator.lease import Holder, Lease, Timing, driving, take
from orchestrator.owner import Owner
from trainables.storage import Storage

QUICK = Timing(beat=0.05, lost=0.6, look=0.05)
SILENT = Timing(beat=1000, lost=0.6, look=0.05)
"""A driver that never beats: to all others it looks as one that is lost."""
ELSEWHERE = Owner(host="node-7", pid=4711, boot="another", started="1")


@pytest.fixture
def folder(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "sweep"))


@pytest.fixture
def leases() -> Iterator[list[Lease]]:
    taken: list[Lease] = []
    yield taken
    for lease in taken:
        lease.release()


def files(folder: Storage) -> list[str]:
    return [info.key for info in folder.list("drivers")]


def put(folder: Storage, number: int, holder: Holder) -> None:
    folder.write_text(f"drivers/{number:06d}.json", holder.model_dump_json())


def test_one_after_another_needs_no_waiting(folder: Storage) -> None:
    said: list[str] = []
    for number in range(1, 6):
        with driving(folder, "sweep s", said.append, QUICK) as lease:
            assert lease.number == number
            assert not json.loads(folder.read_text(files(folder)[-1]))["released"]
        assert json.loads(folder.read_text(files(folder)[-1]))["released"]
    assert files(folder) == [f"drivers/{number:06d}.json" for number in (3, 4, 5)]
    assert said == []


def test_the_second_is_told_who_drives_and_since_when(folder: Storage) -> None:
    with driving(folder, "sweep s", print, QUICK), pytest.raises(SweepHeldError) as refused:
        take(folder, "sweep s", print, QUICK)
    me, text = Owner.me(), str(refused.value)
    assert f"process {me.pid} on {me.host} since {time.strftime('%Y-%m-%d', time.gmtime())}" in text
    assert "--fresh" in text


def test_who_is_patient_follows_a_driver_that_ends_meanwhile(folder: Storage, leases: list[Lease]) -> None:
    patient = replace(QUICK, wait=30.0)
    with driving(folder, "sweep s", print, QUICK) as ending, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(take, folder, "sweep s", lambda text: None, patient)
        time.sleep(0.5)  # ten beats, each of which would have had it refused
        assert not waiting.done()
        ending.release()
        leases.append(waiting.result())
    assert leases[0].number == 2


def test_of_many_at_once_one_drives(folder: Storage, leases: list[Lease]) -> None:
    start, refused = threading.Barrier(8), list[str]()

    def ask(_: int) -> None:
        start.wait()
        try:
            leases.append(take(folder, "sweep s", lambda text: None, QUICK))
        except SweepHeldError as error:
            refused.append(str(error))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    assert (len(leases), len(refused)) == (1, 7)


@pytest.mark.parametrize("since", [0.0, 4e9], ids=["clock behind", "clock ahead"])
def test_a_driver_elsewhere_without_a_sign_is_followed_whatever_its_clock_says(
    folder: Storage, leases: list[Lease], since: float
) -> None:
    put(folder, 7, Holder(owner=ELSEWHERE, since=since, beat=99))
    said: list[str] = []
    began = time.monotonic()
    leases.append(take(folder, "sweep s", said.append, QUICK))
    assert leases[0].number == 8
    assert time.monotonic() - began >= QUICK.lost
    assert "process 4711 on node-7" in said[0]


def test_a_process_of_this_machine_that_has_ended_is_followed_at_once(folder: Storage, leases: list[Lease]) -> None:
    gone = Owner.me().model_copy(update={"started": "1"})
    put(folder, 1, Holder(owner=gone, since=0.0))
    leases.append(take(folder, "sweep s", pytest.fail, Timing(lost=3600)))
    assert leases[0].number == 2


def test_a_file_that_cannot_be_read_is_waited_for_and_followed(folder: Storage, leases: list[Lease]) -> None:
    folder.write_text("drivers/000001.json", '{"owner": ')
    said: list[str] = []
    leases.append(take(folder, "sweep s", said.append, QUICK))
    assert leases[0].number == 2
    assert "000001.json cannot be read" in said[0]


def test_a_driver_that_was_followed_ends_and_writes_no_more(folder: Storage) -> None:
    told = pytest.raises(LeaseLostError, match="process 4711 on node-7")
    with told, terminable(), driving(folder, "sweep s", print, QUICK) as lease:
        put(folder, 2, Holder(owner=ELSEWHERE, since=0.0))
        for _ in range(200):
            time.sleep(0.05)
        pytest.fail("nobody said that the sweep was taken")
    with pytest.raises(LeaseLostError):
        lease.guard()
    assert not json.loads(folder.read_text("drivers/000002.json"))["released"], "the follower's file is its own"


def test_who_sleeps_is_followed_and_told_so_when_it_wakes(folder: Storage, leases: list[Lease]) -> None:
    with pytest.raises(LeaseLostError), terminable(), driving(folder, "sweep s", print, SILENT) as asleep:
        leases.append(take(folder, "sweep s", print, QUICK))
        assert leases[0].number == 2
        asleep._beat()
        time.sleep(10)
