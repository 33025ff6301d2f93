"""The Ray cluster: a local one that starts fast and leaves nothing behind, or one that is already there.

A local cluster answers only to the token in this process's environment, keeps its files in a folder of its own,
and ends with the context whatever ends it. It has no dashboard: nothing here needs one.

To one that is there this process connects as a driver, on a machine of the cluster, or as a Ray client; it shows
the token that the user has, and asks every node whether it can do our work.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.errors import Interrupted, SettingsError, StageError
from orchestrator.interrupts import take_sigterm, terminable
from orchestrator.launch.access import as_client, authenticated, check_member, kind_of, mismatch, reach, refused
from orchestrator.launch.error_lines import first_line
from orchestrator.launch.nodes import check_nodes
from orchestrator.launch.placement import DRIVER_RESOURCE, Cluster, current
from orchestrator.launch.ray_folder import FOLDER, ROOT
from trainables.storage import Storage

OBJECT_STORE_BYTES = 128 * 1024**2
"""Data reaches workers as memory-mapped files, so the object store carries messages only."""
DRIVERS = 1024
STARTS = 3
_PREFIX = "orch-ray-"

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "10",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "30",
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "120",
}
"""Set where the user has not set them. Tune's own snapshots are of no use: the journal is what is resumed. What Ray
would print of lost nodes and processes into the display, the trials' records tell."""


FORWARDED = (
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "ORCH_STORAGE_PATIENCE",
)
"""Of the driver's environment, what every process on an existing cluster is to have. It can be read in the
dashboard, so that no credential is among it: each node has its own."""


@contextmanager
def connected(
    address: str | None,
    *,
    cpus: int | None,
    dashboard: bool = False,
    storage: Storage | None = None,
    cache: Path | None = None,
    scratch: Storage | None = None,
) -> Iterator[Cluster]:
    """Connect to `address`, or start a local cluster of `cpus` (all of this machine's where None).

    Of an existing cluster every node is asked whether it runs the same code and reaches `storage`; SettingsError
    names one that does not. Ray writes there to `scratch`, by default below `storage`. Ctrl-C and SIGTERM inside
    become Interrupted, after the cluster has been let go.
    """
    existing = kind_of(address) != "local"
    with (
        _environment(scratch or (storage and storage.at(FOLDER)) if existing else None, token=not existing),
        terminable(),
        tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True) as temp,
        ExitStack() as stack,
    ):
        import ray  # reads the environment once

        _remove_leftovers()
        try:
            if existing and address:
                stack.enter_context(authenticated())
                _join(address)
            else:
                _start(cpus, dashboard, temp)
            take_sigterm()  # ray.init puts handlers of its own in place, the last of which ends the process
            if existing and storage is not None:
                check_nodes(storage, cache or Path(temp))
            yield current()
        except (KeyboardInterrupt, SystemExit) as error:  # Ray's handler while it starts is a SystemExit
            raise Interrupted("stopped; everything finished so far is kept: the same command goes on") from error
        finally:
            ray.shutdown()
            shutil.rmtree(temp, ignore_errors=True)


def _start(cpus: int | None, dashboard: bool, temp: str) -> None:
    """Again where Ray, which waits for half a minute, found the machine too busy to start it."""
    import ray

    for tries in range(STARTS, 0, -1):
        try:
            ray.init(
                address="local",
                num_cpus=cpus,
                resources={DRIVER_RESOURCE: DRIVERS},
                include_dashboard=dashboard,
                dashboard_host="127.0.0.1",
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=temp,
                **_quiet(),
            )
            return
        except Exception as error:  # Ray's own has no class
            ray.shutdown()
            if "timed out during startup" not in str(error):
                raise
            if tries == 1:
                raise StageError(f"Ray did not start, {STARTS} times: is this machine overloaded?") from error


def _join(address: str) -> None:
    import ray
    from ray.exceptions import AuthenticationError, RayError

    quiet, variables = _quiet(), worker_environment(os.environ)
    reach(address)
    if kind_of(address) != "client":
        check_member(address)
    try:
        as_client(partial(ray.init, address, runtime_env={"env_vars": variables}, **quiet))
    except AuthenticationError as error:
        raise refused(f"RAY_ADDRESS {address!r}") from error
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        told = mismatch(error) or f"the cluster answers, but Ray cannot join it ({first_line(error)})"
        raise SettingsError(f"RAY_ADDRESS {address!r}: {told}") from error


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What processes on an existing cluster are given: our settings of Ray, and where things are; no credential.

    Ray refuses to say twice what the job that this driver runs in has said already.
    """
    job = json.loads(environment.get("RAY_JOB_CONFIG_JSON_ENV_VAR") or "{}")
    said = (job.get("runtime_env") or {}).get("env_vars") or {}
    names = (*ENVIRONMENT, *FORWARDED, ROOT)
    return {name: environment[name] for name in names if environment.get(name) and name not in said}


def _quiet() -> dict[str, Any]:
    for name in ("ray.tune", "ray.train", "ray._private", "ray"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return {"log_to_driver": False, "logging_level": logging.ERROR}


@contextmanager
def _environment(scratch: Storage | None, *, token: bool) -> Iterator[None]:
    """`ENVIRONMENT` and a token of its own for as long as the cluster lives; what the user has set stays."""
    before = dict(os.environ)
    wanted = dict(ENVIRONMENT)
    if token and before.get("RAY_AUTH_MODE") != "disabled":
        wanted["RAY_AUTH_TOKEN"] = _token()  # without one Ray would write its own to the home folder
    if scratch is not None:
        wanted[ROOT] = scratch.root
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
