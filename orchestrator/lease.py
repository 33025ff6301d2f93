"""Who drives a sweep: one driver at a time, agreed on through the storage alone.

Whoever takes a sweep adds the next number to its folder `drivers`; the storage gives a number to one of two that
ask at once, and the highest number holds the sweep. The holder's file carries a beat that it counts up. No clocks
are compared: whoever wants the sweep watches, by its own clock, whether the beat moves. A driver that was taken for
lost (its storage was away, its machine slept) sees the higher number at its next beat and ends.
"""

from __future__ import annotations

import _thread
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.errors import Interrupted, LeaseLostError, SweepHeldError
from orchestrator.owner import Owner
from trainables.errors import OrchError
from trainables.storage import Storage, patience

FOLDER = "drivers"
KEPT = 3
"""Files of the latest drivers that are kept, to be read by people."""


@dataclass(frozen=True)
class Timing:
    """In seconds."""

    beat: float = 10.0
    lost: float = 45.0
    """Without a beat for so long a driver is taken for lost."""
    look: float = 2.0
    """Between two looks at another's beat."""
    wait: float = 0.0
    """A driver that gives signs of life is waited for so long: it may be ending, with the cluster that it is on."""


class Holder(BaseModel):
    """What stands in a driver's file."""

    model_config = ConfigDict(frozen=True)

    owner: Owner
    since: float
    """By the driver's own clock; to be shown, never compared."""
    beat: int = 0
    released: bool = False

    @property
    def free(self) -> bool:
        """Whether it is certain that nobody drives any more. Of another machine it never is, whatever its name."""
        return self.released or (self.owner.boot == Owner.me().boot and self.owner.gone())

    def told(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%d %H:%M:%S")
        return f"process {self.owner.pid} on {self.owner.host} since {since} UTC"


class Lease:
    """A sweep that this process drives; call `guard` before a write that only the driver may make."""

    def __init__(self, storage: Storage, number: int, holder: Holder, timing: Timing) -> None:
        self.number = number
        self.taken_by: Holder | None = None
        """Who drives in its place."""
        self._storage, self._holder, self._timing = storage, holder, timing
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    def guard(self) -> None:
        """Raises LeaseLostError once another driver has taken the sweep."""
        if self.taken_by is not None:
            raise LeaseLostError(
                f"another driver has taken this sweep over ({self.taken_by.told()}), as this one had given no sign "
                "for too long; this one ends, and what it had finished is kept"
            )

    def release(self) -> None:
        """Say that nobody drives any more, unless another one does; a storage that is away is left as it is."""
        self._ended.set()
        self._thread.join(timeout=self._timing.beat)
        if self.taken_by is None and not self._thread.is_alive():
            with suppress(OrchError, OSError):
                self._write(released=True)
                for number in _numbers(self._storage)[:-KEPT]:
                    self._storage.remove(_key(number))

    def _run(self) -> None:
        while not self._ended.wait(self._timing.beat):
            with suppress(OrchError, OSError), patience(self._timing.beat):  # the next beat may reach it
                self._beat()

    def _beat(self) -> None:
        newest = _numbers(self._storage)[-1]
        if newest <= self.number:
            self._write(beat=self._holder.beat + 1)
            return
        self.taken_by = _read(self._storage, newest) or self._holder
        self._ended.set()
        _thread.interrupt_main(signal.SIGTERM)

    def _write(self, **change: int | bool) -> None:
        self._holder = self._holder.model_copy(update=change)
        self._storage.write_text(_key(self.number), self._holder.model_dump_json())


@contextmanager
def driving(
    storage: Storage, what: str, say: Callable[[str], None], timing: Timing | None = None
) -> Iterator[Lease]:
    """Drive the sweep in the folder `storage`; `what` names it. `say` is told when there is something to wait for.

    Raises SweepHeldError where another driver gives signs of life for longer than `timing.wait`. One that gives
    none for `timing.lost` seconds is followed. When another one follows this one, the body is interrupted and
    LeaseLostError raised.
    """
    lease = take(storage, what, say, timing or Timing())
    try:
        yield lease
    except (Interrupted, KeyboardInterrupt):
        lease.guard()
        raise
    finally:
        lease.release()


def take(storage: Storage, what: str, say: Callable[[str], None], timing: Timing) -> Lease:
    """Become the driver; errors as in `driving`."""
    patient_until = time.monotonic() + timing.wait
    while True:
        numbers = _numbers(storage)
        newest = numbers[-1] if numbers else 0
        try:
            if newest and not _is_free(storage, newest, what, say, timing):
                continue
        except SweepHeldError:
            if time.monotonic() >= patient_until:
                raise
            continue
        holder = Holder(owner=Owner.me(), since=time.time())
        if storage.create(_key(newest + 1), holder.model_dump_json().encode()):
            return Lease(storage, newest + 1, holder, timing)


def _is_free(storage: Storage, number: int, what: str, say: Callable[[str], None], timing: Timing) -> bool:
    """Watch the driver `number` until it is known whether it lives; False where another one has followed it."""
    holder = _read(storage, number)
    if holder is not None and holder.free:
        return True
    told = holder.told() if holder else f"a driver whose file {storage.url(_key(number))} cannot be read"
    say(f"{what} was last driven by {told}; waiting up to {timing.lost:g} s to see whether it still is")
    end = time.monotonic() + timing.lost
    while time.monotonic() < end:
        time.sleep(timing.look)
        if _numbers(storage)[-1:] != [number]:
            return False
        now = _read(storage, number)
        if now is not None and now.free:
            return True
        if now != holder:
            raise SweepHeldError(
                f"{what} is being driven by {told}; wait for it, stop it there (it keeps what it has finished), "
                "or start another search with --fresh"
            )
    return True


def _numbers(storage: Storage) -> list[int]:
    found = (re.fullmatch(rf"{FOLDER}/(\d+)\.json", info.key) for info in storage.list(FOLDER))
    return sorted(int(one[1]) for one in found if one)


def _read(storage: Storage, number: int) -> Holder | None:
    """None where the file cannot be understood, or is gone."""
    try:
        return Holder.model_validate_json(storage.read_bytes(_key(number)))
    except (ValidationError, OrchError):
        return None


def _key(number: int) -> str:
    return f"{FOLDER}/{number:06d}.json"
