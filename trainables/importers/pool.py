"""A function over many jobs in processes: results in the jobs' order, memory bounded, a crash confined to its job.

Processes, because a libav that crashes on a file must not take the driver with it, and because most of decoding
an utterance is Python. They come from a fork server that has the decoder loaded, so that they share its pages.
At most `MAX_WORKERS` however many cores there are: more would cost memory and hardly save time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Generic, TypeVar

from trainables.processes import executor

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")

MAX_WORKERS = 12
AHEAD = 4
"""Jobs per worker that are given out before the oldest result is taken: all that is ever held."""
_PRELOAD = ["trainables.importers.clips", "av", "numpy", "PIL.Image", "PIL.JpegImagePlugin", "soundfile"]


def in_order(
    function: Callable[[JobT], ResultT],
    jobs: Iterable[JobT],
    workers: int,
    crashed: Callable[[JobT], ResultT],
) -> Iterator[ResultT]:
    """`function(job)` for each job, in order; `crashed(job)` where it ended its process.

    `function` and the jobs are pickled. `jobs` is consumed at most `AHEAD` jobs per worker before the result taken.
    One worker runs in this process, without the protection.
    """
    if workers <= 1:
        yield from map(function, jobs)
        return
    pool = _Pool(function, crashed, min(workers, MAX_WORKERS))
    try:
        for job in jobs:
            pool.give(job)
            if len(pool.waiting) > AHEAD * pool.workers:
                yield pool.take()
        while pool.waiting:
            yield pool.take()
    finally:
        pool.close()


class _Pool(Generic[JobT, ResultT]):
    def __init__(
        self, function: Callable[[JobT], ResultT], crashed: Callable[[JobT], ResultT], workers: int
    ) -> None:
        self.workers = workers
        self.waiting: deque[tuple[JobT, Future[ResultT]]] = deque()
        self._function = function
        self._crashed = crashed
        self._executor = executor(workers, _PRELOAD)

    def give(self, job: JobT) -> None:
        try:
            self.waiting.append((job, self._executor.submit(self._function, job)))
        except BrokenProcessPool:
            self._restart()
            self.waiting.append((job, self._executor.submit(self._function, job)))

    def take(self) -> ResultT:
        """The oldest job's result. After a crash that job is run alone, to learn whether it was the cause."""
        job, future = self.waiting.popleft()
        try:
            return future.result()
        except BrokenProcessPool:
            result = self._alone(job)
            self._restart()
            return result

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _alone(self, job: JobT) -> ResultT:
        with executor(1, _PRELOAD) as one:
            try:
                return one.submit(self._function, job).result()
            except BrokenProcessPool:
                return self._crashed(job)

    def _restart(self) -> None:
        """A new pool, in which every job still waiting is run again unless its result is there."""
        self.close()
        self._executor = executor(self.workers, _PRELOAD)
        for _ in range(len(self.waiting)):
            job, future = self.waiting.popleft()
            if not (future.done() and not future.cancelled() and future.exception() is None):
                future = self._executor.submit(self._function, job)
            self.waiting.append((job, future))
