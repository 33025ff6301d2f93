"""What this machine talks to: the storage, MLflow, and a Ray cluster that is already there."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress

from orchestrator.doctor.finding import Finding, brief, hidden
from orchestrator.errors import SettingsError
from orchestrator.settings import Settings, cores
from trainables.errors import OrchError
from trainables.storage import Storage, patience

PATIENCE_SECONDS = 10.0
"""How long a storage is waited for; a sweep waits for longer."""
SKEW_SECONDS = 60.0
"""A clock that is off by more is told of: an S3 store refuses what is off by 900."""


def storage(settings: Settings) -> list[Finding]:
    folder = settings.storage_folder
    new = folder is not None and not folder.exists()
    try:
        root = Storage(settings.storage)
        with patience(PATIENCE_SECONDS):
            return [Finding("storage", "ok", f"{hidden(root.root)}: {_used(root)}"), *_clock(root)]
    except OrchError as error:  # says itself what to do
        return [Finding("storage", "fail", brief(error))]
    except Exception as error:  # any file system may raise anything
        mend = "set ORCH_STORAGE to a folder or URL that can be written"
        return [Finding("storage", "fail", f"{hidden(settings.storage)}: {brief(error)}", mend)]
    finally:
        if new and folder is not None and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _used(root: Storage) -> str:
    """Do there all that a sweep does; what came of it."""
    began, folder = time.monotonic(), f"doctor-{uuid.uuid4().hex[:8]}"
    try:
        _try_all(root, f"{folder}/probe")
    except BaseException:
        with suppress(OrchError, OSError):  # what went wrong first is told
            root.remove(folder)
        raise
    root.remove(folder)
    return f"written, read, listed and removed in {1000 * (time.monotonic() - began):.0f} ms"


def _try_all(root: Storage, key: str) -> None:
    text = uuid.uuid4().hex
    if not root.create(key, text.encode()):
        raise SettingsError(f"{root.url(key)}: it says that it has what nobody has written")
    if root.create(key, b"second"):
        raise SettingsError(
            f"{root.url(key)}: a write on condition that nothing is there replaced what was; two sweeps could take "
            "each other's place on such a storage: take one that has conditional writes (If-None-Match)"
        )
    root.write_text(key, text)
    if root.read_text(key) != text or [info.key for info in root.list(key.partition("/")[0])] != [key]:
        raise SettingsError(f"{root.url(key)}: what was read or listed is not what was written")


def _clock(root: Storage) -> list[Finding]:
    """Whether this machine's clock is the storage's."""
    key = f"doctor-{uuid.uuid4().hex[:8]}"
    root.write_text(key, "what time is it?")
    try:
        theirs = root.modified(key)
    finally:
        root.remove(key)
    skew = time.time() - theirs if theirs is not None else 0.0
    if abs(skew) <= SKEW_SECONDS:
        return []
    told = f"this machine's is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the storage's"
    return [Finding("clock", "warn", told, "set it right by NTP; S3 refuses requests that are off by 900 s")]


def mlflow(settings: Settings) -> list[Finding]:
    from orchestrator.tracking import ping

    try:
        return [Finding("mlflow", "ok", ping(settings.mlflow_tracking_uri))]
    except OrchError as error:
        return [Finding("mlflow", "fail", brief(error), "a sweep goes on without it and sends everything later")]


def ray(settings: Settings) -> list[Finding]:
    """Joins the cluster, if there is one: only that says whether its versions and its nodes are right."""
    if not settings.ray_address or settings.ray_address == "local":
        return [Finding("ray", "ok", f"no cluster configured: a local one on {cores()} cores")]
    from orchestrator.launch.cluster import connected

    try:
        with connected(
            settings.ray_address, cpus=None, storage=Storage(settings.storage), cache=settings.cache
        ) as cluster:
            cpus, gpus = sum(one.cpus for one in cluster.nodes), sum(one.gpus for one in cluster.nodes)
            told = (
                f"{settings.ray_address}: {len(cluster.nodes)} nodes with {cpus:g} CPUs and {gpus:g} GPUs, each of "
                "which runs this code and reaches the storage"
            )
    except OrchError as error:
        return [Finding("ray", "fail", brief(error))]
    return [Finding("ray", "ok", told)]
