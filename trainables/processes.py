"""Processes for CPU work beside the driver, which end when it does, whatever ends it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor


def executor(workers: int, preload: Sequence[str], *, tasks: int | None = None) -> ProcessPoolExecutor:
    """Processes that leave Ctrl-C to the driver and end with it; after `tasks` tasks each gives way to a new one.

    Never plain fork: the driver has threads (display, tracking), and a lock held by one would stay held.
    """
    forked = "forkserver" in multiprocessing.get_all_start_methods()
    context: multiprocessing.context.BaseContext = multiprocessing.get_context("forkserver" if forked else "spawn")
    if forked:
        context.set_forkserver_preload(list(preload))
        _start_server()
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start, max_tasks_per_child=tasks)


def abandon(pool: ProcessPoolExecutor) -> None:
    """End the pool now, whatever its processes are at, as `terminate_workers` of Python 3.14 does."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()


def _start_server() -> None:
    """The fork server inherits a blocked SIGINT: a Ctrl-C while it loads its modules is the driver's alone."""
    from multiprocessing import forkserver, resource_tracker

    resource_tracker.ensure_running()  # the fork server starts it otherwise, and it unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start() -> None:
    """In a worker: leave Ctrl-C to the driver, and end with it even when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_driver, daemon=True).start()


def _end_with_driver() -> None:
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)
