"""Whether the nodes of a cluster that others have started can do our work: asked of each before any work begins.

A node with another version of our code would train something else under the same name; one that does not reach the
storage, or that cannot keep a cache, would fail every trial that it is given.
"""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import SettingsError
from orchestrator.launch.code_digest import checkout, code_digest
from orchestrator.launch.error_lines import last_line
from trainables.storage import Storage

CACHE = "ORCH_CACHE"
ANSWER_SECONDS = 180.0
PATIENCE_SECONDS = 20.0
"""How long a node waits for the storage before it says that it cannot reach it."""
_FOLDER = "probes"


@dataclass(frozen=True)
class Told:
    """What a process knows of itself; `fault` says why it could not look further."""

    ray: str
    python: str
    code: str = ""
    """The digest of our packages; empty where they cannot be imported."""
    fault: str = ""


def own_cache(drivers: str | Path) -> Path:
    """The cache folder of this node: its own ORCH_CACHE, else the one that the driver uses."""
    return Path(os.environ.get(CACHE) or drivers).expanduser().absolute()


def check_nodes(storage: Storage, cache: Path) -> None:
    """Ask every node of the connected cluster; SettingsError names the first that differs, and how."""
    nodes = {node["NodeID"]: _name(node) for node in _alive()}
    token, key = uuid.uuid4().hex, f"{_FOLDER}/{uuid.uuid4().hex[:12]}"
    storage.write_text(f"{key}/driver", token)
    try:
        told = _ask(nodes, storage.root, key, token, str(cache))
    finally:
        storage.remove(key)
    for node, found in told.items():
        if fault := difference(f"node {nodes[node]}", mine(), found):
            raise SettingsError(fault)


def mine() -> Told:
    import ray

    return Told(ray.__version__, platform.python_version(), code_digest())


def difference(node: str, here: Told, there: Told) -> str:
    """What is wrong with the node, in one sentence with the way out; empty where nothing is."""
    if there.ray != here.ray:
        return f"{node} runs Ray {there.ray}, this process {here.ray}; start every node from one image"
    if there.python.rpartition(".")[0] != here.python.rpartition(".")[0]:
        return f"{node} runs Python {there.python}, this process {here.python}; start every node from one image"
    if not there.code:
        return f"{node} cannot import our code ({there.fault}); {_SAME}"
    if there.code != here.code:
        place = f", from {checkout()}" if checkout() else ""
        return f"{node} runs other code ({there.code}) than this process ({here.code}{place}); {_SAME}"
    return f"{node}: {there.fault}" if there.fault else ""


_SAME = (
    "install the same version on every node, or send it along: `orch submit` takes a checkout's code with the job"
)


def _alive() -> list[Mapping[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def _ask(nodes: Mapping[str, str], *given: str) -> dict[str, Told]:
    """What each node told. A node that is lost meanwhile tells nothing, and is no fault of anybody's."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=1)(_look())
    asked = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(*given): node
        for node in nodes
    }
    ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_SECONDS)
    told = {asked[one]: found for one in ready if (found := _answer(one, nodes[asked[one]])) is not None}
    living = {node["NodeID"] for node in _alive()}
    silent = [nodes[asked[one]] for one in late if asked[one] in living]
    if silent:
        raise SettingsError(
            f"node {silent[0]} started no process within {ANSWER_SECONDS:g} s; look at its logs, or take it out"
        )
    return told


def _answer(reference: Any, node: str) -> Told | None:
    import ray
    from ray.exceptions import NodeDiedError, RayError, TaskUnschedulableError

    try:
        return Told(*ray.get(reference))
    except (NodeDiedError, TaskUnschedulableError):
        return None
    except RayError as error:
        raise SettingsError(f"node {node} cannot run our code: {last_line(error)}; {_SAME}") from error


def _look() -> Callable[..., Sequence[str]]:
    """The function that a node runs. Made here, so that it travels by value: our code may not be there."""

    def look(root: str, key: str, token: str, cache: str) -> Sequence[str]:
        import platform

        import ray

        told = [ray.__version__, platform.python_version()]
        try:
            from orchestrator.launch.code_digest import code_digest
            from orchestrator.launch.nodes import fault_here
        except ImportError as error:
            return [*told, "", f"{type(error).__name__}: {error}"]
        return [*told, code_digest(), fault_here(root, key, token, cache)]

    look.__module__ = "__main__"
    return look


def fault_here(root: str, key: str, token: str, cache: str) -> str:
    """Why this node cannot do our work; empty where it can. `key` holds what the driver wrote, `token`."""
    return _storage_fault(Storage(root), key, token) or _cache_fault(own_cache(cache))


def _storage_fault(storage: Storage, key: str, token: str) -> str:
    from trainables.errors import OrchError
    from trainables.storage import patience

    mend = "it must reach the storage as the driver does (AWS_* in its environment, or a role)"
    if storage.local is not None:
        mend = (
            "give a storage that every node reaches, such as s3://bucket/folder, or a folder that all of them mount"
        )
    try:
        with patience(PATIENCE_SECONDS):
            if not storage.exists(f"{key}/driver") or storage.read_text(f"{key}/driver") != token:
                return f"storage {storage.root}: it does not see what the driver has written there; {mend}"
            storage.write_text(f"{key}/{uuid.uuid4().hex}", "written")
    except (OrchError, OSError) as error:
        return f"storage {storage.root}: {error}; {mend}"
    return ""


def _cache_fault(folder: Path) -> str:
    probe = folder / f".probe-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        return f"cache {folder}: {error.strerror}; set {CACHE} on that node to a folder that can be written"
    return ""
