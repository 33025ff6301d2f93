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
from pathlib import Path
from typing import Any

from orchestrator.errors import Interrupted, SettingsError
from orchestrator.interrupts import take_sigterm, terminable
from orchestrator.launch.error_lines import first_line
from orchestrator.launch.placement import DRIVER_RESOURCE, Cluster, current

OBJECT_STORE_BYTES = 128 * 1024**2
"""Data reaches workers as memory-mapped files, so the object store carries messages only."""
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
