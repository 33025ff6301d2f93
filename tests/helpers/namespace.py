"""The namespace `orch` on this machine: rendered manifests as containers, with PostgreSQL and S3 beside them."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.operator import Operator
from tests.helpers.pods import Node, Objects, Pod
from tests.helpers.services.postgres import Postgres, binaries
from tests.helpers.services.process import Service

HEAD, WORKER, MLFLOW, SUBMITTER = range(4)
"""Machines."""


@dataclass
class Namespace:
    node: Node
    operator: Operator
    stack: ExitStack
    running: dict[str, Service] = field(default_factory=dict)

    @property
    def dashboard(self) -> str:
        return f"http://{self.node.machines.addresses[HEAD]}:8265"

    @property
    def mlflow(self) -> str:
        return f"http://{self.node.machines.addresses[MLFLOW]}:5000"

    def start_mlflow(self) -> None:
        """As its Deployment does: the init container, then the server."""
        spec = self.node.objects.find("Deployment", "mlflow")["spec"]["template"]["spec"]
        pod = Pod(self.node, "mlflow", spec, MLFLOW)
        for container in spec["initContainers"]:
            status, output = pod.run(container)
            assert status == 0, output
        self._start(pod, spec["containers"][0], "mlflow", lambda: answer(f"{self.mlflow}/health")[0] == 200)

    def start_ray(self) -> None:
        """Head, worker's wait for it, worker; ready when Ray's own agent on the node says so, as its probe asks."""
        spec, container = self.operator.head()
        self._start(
            Pod(self.node, "head", spec, HEAD),
            container,
            "head",
            lambda: answer(f"{self.dashboard}/api/gcs_healthz")[0] == 200,
        )
        spec, container = self.operator.worker()
        pod = Pod(self.node, "worker", spec, WORKER)
        status, output = pod.run(self.operator.wait_for_head())
        assert status == 0, output
        agent = f"http://{self.node.machines.addresses[WORKER]}:52365/api/local_raylet_healthz"
        self._start(pod, container, "worker", lambda: b"success" in answer(agent)[1])

    def submit(self, submission: str, seconds: float = 900) -> tuple[int, str]:
        """The submitter's exit status and what it printed."""
        spec, container = self.operator.submitter(submission)
        return Pod(self.node, f"submitter-{submission}", spec, SUBMITTER).run(container, seconds)

    def shell(self, script: str, *, login: bool = False, environment: Mapping[str, str] | None = None) -> str:
        """What a script prints in a container like the submitter's, without the operator's environment."""
        spec = self.operator.spec["submitterPodTemplate"]["spec"]
        words = ["/bin/bash", "-lc" if login else "-c", script]
        env = [{"name": name, "value": value} for name, value in (environment or {}).items()]
        container = {**spec["containers"][0], "command": words, "args": [], "env": env, "name": "shell"}
        name = f"shell-{len(list(self.node.private.iterdir()))}"
        status, output = Pod(self.node, name, spec, SUBMITTER).run(container)
        return f"{output}\nexit {status}"

    def stop(self, *names: str) -> None:
        for name in names:
            self.running.pop(name).stop()

    def _start(self, pod: Pod, container: Mapping[str, Any], name: str, ready: Callable[[], bool]) -> None:
        service = pod.service(container, ready, log=name)
        self.stack.enter_context(service)
        self.running[name] = service


@contextmanager
def namespace(node: Node, job: Mapping[str, Any]) -> Iterator[Namespace]:
    machines = node.machines
    for index in range(len(machines.machines)):
        # Ray finds its own address by a route; behind this one nobody forwards anything.
        enter = ["nsenter", "--target", str(machines.machines[index].init), "--net"]
        subprocess.run([*enter, "ip", "route", "add", "default", "via", machines.gateway], check=True)
    with ExitStack() as stack:
        yield Namespace(node, Operator(job), stack)


def answer(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Status and body; status 0 where nobody answers."""
    request = urllib.request.Request(url, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=10) as found:
            return found.status, found.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def run_sql(objects: Objects, server: Postgres, secrets: Mapping[str, str]) -> None:
    """What the image of PostgreSQL runs when its volume is empty: the scripts of the ConfigMap."""
    folder = binaries()
    assert folder is not None
    address = ["-h", server.host, "-p", str(server.port), "-U", "orch", "-d", "postgres"]
    environment = {**os.environ, "PGPASSWORD": server.password, **secrets}
    for script in objects.data("ConfigMap", "orch-postgres-init", optional=False).values():
        command = [str(folder / "psql"), "--quiet", "--set", "ON_ERROR_STOP=1", *address]
        subprocess.run(command, input=script, text=True, check=True, env=environment)


class Arguments:
    """Command lines of all processes here, looked at while a test runs, for words that must not be there."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.seen: set[str] = set()

    def look(self) -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            self.seen |= {f"{word[:4]}...: {line[:80]}" for word in self.words if word in line}

    def watch(self, ended: Callable[[], bool]) -> None:
        while not ended():
            self.look()
            time.sleep(1)
