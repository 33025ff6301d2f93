"""A Ray cluster of several nodes, each `ray start` in processes of its own that can be killed as a machine is lost.

All on this machine, or each on one of `namespaces`, with an address of its own.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.launch.access import authenticated
from tests.helpers.services.namespaces import REPOSITORY, Namespaces
from tests.helpers.services.process import PATIENCE, Service, ServiceError, free_port

OBJECT_STORE = 80 * 1024**2
STARTED = "Ray runtime started."
SLOW = "The current node timed out during startup"  # Ray waits for 30 s, whatever else the machine does
ASK = """
import json, sys, ray
ray.init(address=sys.argv[1], namespace="asking", log_to_driver=False, logging_level="ERROR")
sys.stdout.write("\\nanswer: " + json.dumps(eval(sys.argv[2]), default=str) + "\\n")
"""
# A killed node is missed after seconds, a slow one not before a minute.
SETTINGS = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "15000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(REPOSITORY),
}


@dataclass
class Node:
    """`address` is an IP address, `machine` the index of its namespace, None: here."""

    name: str
    cpus: int
    address: str
    service: Service
    machine: int | None


class RayNodes:
    def __init__(
        self, folder: Path, environment: Mapping[str, str], *, dashboard: bool, machines: Namespaces | None
    ) -> None:
        self.folder = folder
        self.environment = {**SETTINGS, **environment}
        """For whoever talks to the cluster, too: it holds the authentication that the nodes ask for."""
        self.nodes: list[Node] = []
        self.machines = machines
        self.temporary = Path(tempfile.mkdtemp(prefix="orch-ray-", dir="/tmp"))  # short: sockets lie in it
        here = machines is None
        self.host = "127.0.0.1" if machines is None else machines.addresses[0]
        self.port = free_port() if here else 6379
        self.client_port = free_port() if here else 10001
        self.dashboard_port = (free_port() if here else 8265) if dashboard else None

    @property
    def address(self) -> str:
        """For RAY_ADDRESS on a node of the cluster."""
        return f"{self.host}:{self.port}"

    @property
    def client(self) -> str:
        """For RAY_ADDRESS outside of the cluster."""
        return f"ray://{self.host}:{self.client_port}"

    @property
    def dashboard(self) -> str | None:
        return None if self.dashboard_port is None else f"http://{self.host}:{self.dashboard_port}"

    @property
    def last(self) -> int:
        """The node that was added last of those that run."""
        return max(index for index, node in enumerate(self.nodes) if node.service.running)

    def add(self, cpus: int, *, resources: Mapping[str, float] | None = None, labels: str = "") -> int:
        """Another node, when the cluster has it: its index. The first is the head."""
        index = self.begin(cpus, resources=resources, labels=labels)
        self.await_node(index)
        return index

    def begin(self, cpus: int, *, resources: Mapping[str, float] | None = None, labels: str = "") -> int:
        """As `add`, without waiting for more than that its process starts."""
        index = len(self.nodes)
        machine = None if self.machines is None else index
        address = "127.0.0.1" if self.machines is None else self.machines.addresses[index]
        words = ["--node-name", f"node-{index}", "--node-ip-address", address, "--num-cpus", str(cpus)]
        words += ["--object-store-memory", str(OBJECT_STORE), "--disable-usage-stats", "--block"]
        words += ["--resources", json.dumps(dict(resources or {}))] + (["--labels", labels] if labels else [])
        words += (self._head() if index == 0 else ["--address", self.address]) + self._apart(index)
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *words]
        if self.machines is not None:
            command = self.machines.command(index, command)
        log = self.folder / f"ray-node-{index}.log"
        service = Service(command, log, None, self.environment)
        self.nodes.append(Node(f"node-{index}", cpus, address, service, machine))
        service.start()
        return index

    def await_node(self, index: int, tries: int = 3) -> None:
        node = self.nodes[index]
        left = tries

        def is_up() -> bool:
            nonlocal left
            if not node.service.running and SLOW in node.service.output() and left > 1:
                left -= 1
                node.service.kill()
                node.service.start()
            if not node.service.running:
                raise ServiceError(
                    f"{node.name} ended with {node.service.wait(1)}:\n{node.service.output()[-3000:]}"
                )
            return STARTED in node.service.output() and node.name in self.alive()

        self.until(is_up, f"{node.name} in the cluster")

    def kill(self, index: int) -> None:
        """All of the node's processes at once; the cluster sees it some seconds later (`until`, `alive`)."""
        self.nodes[index].service.kill()

    def alive(self) -> set[str]:
        """Names of the nodes that the cluster itself holds to be alive, asked without joining it."""
        from ray._raylet import GcsClient  # type: ignore[attr-defined]

        with self._authentication():
            found = GcsClient(address=self.address).get_all_node_info(timeout=30)
        return {info.node_name for info in found.values() if info.state == 0}

    def until(self, holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise ServiceError(f"no {what} in {seconds:.0f} s; see {self.folder}")
            time.sleep(0.2)

    def ask(self, expression: str, *, machine: int = 0) -> Any:
        """What Python's `expression`, over `ray`, is in a driver of its own; as JSON brings it."""
        command = [sys.executable, "-c", ASK, self.address, expression]
        if self.machines is not None:
            command = self.machines.command(machine, command)
        log = self.folder / f"ask-{secrets.token_hex(4)}.log"
        with Service(command, log, None, self.environment) as service:
            status = service.wait(PATIENCE)
        answers = [line for line in service.output().splitlines() if line.startswith("answer: ")]
        if status or not answers:
            raise ServiceError(f"{expression} ended with {status}:\n{service.output()[-3000:]}")
        return json.loads(answers[-1].removeprefix("answer: "))

    def placement_groups(self) -> list[dict[str, Any]]:
        """Of all times, each with its `state`: what is not REMOVED holds room."""
        return list(self.ask("ray.util.placement_group_table()").values())

    def close(self) -> None:
        """Workers first: a head that ends would have them wait for it. Keeps the nodes' logs in the folder."""
        for node in reversed(self.nodes):
            node.service.kill()
        for name, session in self._sessions().items():
            with suppress(OSError):
                shutil.copytree(session / "logs", self.folder / name)
        shutil.rmtree(self.temporary, ignore_errors=True)

    def _sessions(self) -> dict[str, Path]:
        """Ray's own folders, as we see them, by the name under which their logs are kept."""
        if self.machines is None:
            return {"ray-logs": self.temporary / "session_latest"}
        return {
            f"ray-logs-{node.name}": self.machines.inside(node.machine, "/tmp/ray/session_latest")
            for node in self.nodes
            if node.machine is not None and self.machines.machines[node.machine].holder.running
        }

    def _head(self) -> list[str]:
        words = ["--head", "--port", str(self.port), "--ray-client-server-port", str(self.client_port)]
        words += ["--include-dashboard", str(self.dashboard_port is not None).lower()]
        if self.dashboard_port is not None:
            words += ["--dashboard-host", self.host, "--dashboard-port", str(self.dashboard_port)]
        return words

    def _apart(self, index: int) -> list[str]:
        """What nodes of one machine must not share."""
        if self.machines is not None:
            return []
        words = ["--temp-dir", str(self.temporary), "--min-worker-port", "0", "--max-worker-port", "0"]
        words += ["--dashboard-agent-listen-port", "0"]
        return words if index == 0 else [*words, "--include-log-monitor", "false"]

    @contextmanager
    def _authentication(self) -> Iterator[None]:
        """Ray's own client reads it from the environment of the process, once."""
        before = dict(os.environ)
        os.environ.update({name: value for name, value in self.environment.items() if name.startswith("RAY_AUTH")})
        try:
            with authenticated():
                yield
        finally:
            os.environ.clear()
            os.environ.update(before)


@contextmanager
def ray_nodes(
    folder: Path,
    cpus: Sequence[int],
    environment: Mapping[str, str] | None = None,
    *,
    dashboard: bool = False,
    machines: Namespaces | None = None,
) -> Iterator[RayNodes]:
    """A cluster with a node for each of `cpus`, the first its head; on `machines`, one on each.

    `environment` is that of the nodes and thus of what runs on them, for example a store's AWS_*.
    """
    nodes = RayNodes(folder, environment or {}, dashboard=dashboard, machines=machines)
    try:
        nodes.add(cpus[0])
        for index in [nodes.begin(each) for each in cpus[1:]]:
            nodes.await_node(index)
        yield nodes
    finally:
        nodes.close()
