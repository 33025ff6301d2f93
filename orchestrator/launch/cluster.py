"""The Ray cluster: a local one that starts fast and leaves nothing behind, or one that is already there.

A local cluster answers only to the token in this process's environment, keeps its files in a folder of its own,
and ends with the context whatever ends it. It has no dashboard: nothing here needs one.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import Interrupted, SettingsError, StageError
from orchestrator.experiment import WorkerResources
from orchestrator.interrupts import take_sigterm, terminable

OBJECT_STORE_BYTES = 128 * 1024**2
"""Data reaches workers as memory-mapped files, so the object store carries messages only."""
DRIVER_RESOURCE = "orch_driver"
"""What a function that only waits for its workers reserves: with a CPU each, drivers could take them all."""
DRIVERS = 1024
REACH_SECONDS = 10.0
_PREFIX = "orch-ray-"

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "10",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "30",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "120",
}
"""Set where the user has not set them. Tune's own snapshots are of no use: the journal is what is resumed."""


@dataclass(frozen=True)
class Node:
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Cluster:
    address: str
    nodes: tuple[Node, ...]
    drivers: bool
    """Whether it offers `DRIVER_RESOURCE`."""

    @property
    def cpus(self) -> float:
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        return sum(node.gpus for node in self.nodes)

    def slots(self, need: WorkerResources) -> int:
        """How many groups of `need.workers` fit at once, each worker whole on one node."""
        return sum(_fits(node, need) for node in self.nodes) // need.workers

    def driver_reservation(self) -> dict[str, float]:
        return {DRIVER_RESOURCE: 1} if self.drivers else {"CPU": 0.01}


def concurrency(cluster: Cluster, need: WorkerResources, wanted: int | None, what: str) -> int:
    """How many `what` run at once: as many as fit, at most `wanted`. Raises SettingsError where none ever fits."""
    slots = cluster.slots(need)
    if slots < 1:
        largest = ", ".join(f"{n.cpus:g} CPUs and {n.gpus:g} GPUs" for n in sorted(cluster.nodes, key=_size)[-3:])
        raise SettingsError(
            f"resources.{what}: {need.workers} worker(s) of {need.cpus:g} CPUs and {need.gpus:g} GPUs "
            f"can never be placed: the cluster's largest nodes have {largest}; ask for less or add nodes"
        )
    return max(1, min(slots, wanted or slots))


def current() -> Cluster:
    """The cluster that this process is connected to."""
    import ray

    if not ray.is_initialized():
        raise StageError("no Ray cluster is connected; this is called within `connected`")
    totals = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = tuple(Node(float(total.get("CPU", 0)), float(total.get("GPU", 0))) for total in totals)
    address = ray.get_runtime_context().gcs_address
    return Cluster(address, nodes, any(DRIVER_RESOURCE in total for total in totals))


@contextmanager
def connected(address: str | None, *, cpus: int | None, dashboard: bool = False) -> Iterator[Cluster]:
    """Connect to `address`, or start a local cluster of `cpus` (all of this machine's where None).

    Ctrl-C and SIGTERM inside become Interrupted, after the cluster has been let go.
    """
    import ray

    with (
        _environment(),
        terminable(),
        tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True) as temp,
    ):
        _remove_leftovers()
        try:
            _init(address, cpus, dashboard, temp)
            take_sigterm()  # ray.init puts handlers of its own in place, the last of which ends the process
            yield current()
        except (KeyboardInterrupt, SystemExit) as error:  # Ray's handler while it starts is a SystemExit
            raise Interrupted("stopped; everything finished so far is kept: the same command goes on") from error
        finally:
            ray.shutdown()
            shutil.rmtree(temp, ignore_errors=True)


def _init(address: str | None, cpus: int | None, dashboard: bool, temp: str) -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    for name in ("ray.tune", "ray.train", "ray._private", "ray"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if address and address != "local":
        _reach(address)
        try:
            ray.init(address=address, runtime_env={"env_vars": dict(ENVIRONMENT)}, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise SettingsError(f"RAY_ADDRESS {address!r}: no cluster answers ({first_line(error)})") from error
        return
    ray.init(
        address="local",
        num_cpus=cpus,
        resources={DRIVER_RESOURCE: DRIVERS},
        include_dashboard=dashboard,
        dashboard_host="127.0.0.1",
        object_store_memory=OBJECT_STORE_BYTES,
        _temp_dir=temp,
        **quiet,
    )


def _reach(address: str) -> None:
    """Find out in seconds that nobody is there; Ray takes a minute and more. Raises SettingsError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()
        except OSError as error:
            told = error.strerror or error
            raise SettingsError(f"RAY_ADDRESS {address!r}: no cluster answers ({told})") from error


@contextmanager
def _environment() -> Iterator[None]:
    """`ENVIRONMENT` and a token for as long as the cluster lives; what the user has set stays."""
    before = dict(os.environ)
    wanted = dict(ENVIRONMENT)
    if before.get("RAY_AUTH_MODE") != "disabled" and "RAY_ADDRESS" not in before:
        wanted["RAY_AUTH_TOKEN"] = _token()  # without one Ray would write its own to the home folder
    os.environ.update({name: value for name, value in wanted.items() if name not in before})
    try:
        yield
    finally:
        for name in {*wanted, "RAY_AUTH_MODE"} - set(before):
            os.environ.pop(name, None)


_TOKEN: list[str] = []


def _token() -> str:
    """One token a process: Ray reads it once."""
    if not _TOKEN:
        _TOKEN.append(secrets.token_hex(32))
    return _TOKEN[0]


def _remove_leftovers() -> None:
    """The folders of clusters whose driver was killed: they can hold gigabytes of logs and spilled objects."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).split("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc").exists():
            shutil.rmtree(folder, ignore_errors=True)


def first_line(error: BaseException) -> str:
    """The first line of an error, with its type where the message alone says little."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return text or type(error).__name__


def last_line(error: BaseException) -> str:
    """The last line, which names the error where the text is a traceback that Ray passed on."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _fits(node: Node, need: WorkerResources) -> int:
    by_cpu = int(node.cpus / need.cpus + 1e-9)
    return min(by_cpu, int(node.gpus / need.gpus + 1e-9)) if need.gpus else by_cpu


def _size(node: Node) -> tuple[float, float]:
    return node.gpus, node.cpus


__all__ = ["DRIVER_RESOURCE", "Cluster", "Node", "concurrency", "connected", "current", "first_line", "last_line"]
