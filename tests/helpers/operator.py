"""What KubeRay's operator makes of a RayJob: the containers of its pods (v1.7: common/pod.go, common/job.go).

Its own choices alone: parameters and command of `ray start`, environment, the init container of workers, and the
submitter's command. Objects are of a size that a test machine has, as no limit of memory holds there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OBJECT_STORE = 128 * 1024**2
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
WAIT = """
SECONDS=0
while true; do
  if ray health-check --address {address} > /dev/null 2>&1; then
    echo "GCS is ready."
    break
  fi
  echo "$SECONDS seconds elapsed: Waiting for GCS to be ready."
  sleep 5
done
"""
HEALTHY = "import urllib.request; urllib.request.urlopen('{dashboard}/api/gcs_healthz', timeout=5)"


class Operator:
    """Of one RayJob, whose cluster is named after it."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        self.name = job["metadata"]["name"]
        self.spec = job["spec"]
        self.cluster = self.spec["rayClusterSpec"]
        self.head_name = f"{self.name}-head-svc.{job['metadata']['namespace']}.svc.cluster.local"
        self.gcs = f"{self.head_name}:6379"
        self.dashboard = f"http://{self.head_name}:8265"

    @property
    def authentication(self) -> list[dict[str, Any]]:
        options = self.cluster["authOptions"]
        key = {"secretKeyRef": {"name": options["secretName"], "key": "auth_token"}}
        return [
            {"name": "RAY_AUTH_MODE", "value": options["mode"]},
            {"name": "RAY_AUTH_TOKEN", "valueFrom": key},
        ]

    def head(self) -> tuple[Mapping[str, Any], dict[str, Any]]:
        """The pod's spec, and its Ray container."""
        return self._ray(self.cluster["headGroupSpec"], "127.0.0.1:6379", head=True)

    def worker(self) -> tuple[Mapping[str, Any], dict[str, Any]]:
        return self._ray(self.cluster["workerGroupSpecs"][0], self.gcs, head=False)

    def wait_for_head(self) -> dict[str, Any]:
        """The worker's init container: the environment of the worker's own, but not what comes by envFrom."""
        _, worker = self.worker()
        kept = {key: worker[key] for key in ("image", "securityContext", "volumeMounts", "env")}
        words = ["/bin/bash", "-lc", "--"]
        return {**kept, "name": "wait-gcs-ready", "command": words, "args": [WAIT.format(address=self.gcs)]}

    def submitter(self, submission: str) -> tuple[Mapping[str, Any], dict[str, Any]]:
        spec = self.spec["submitterPodTemplate"]["spec"]
        container = dict(spec["containers"][0])
        address, healthy = f"--address {self.dashboard}", HEALTHY.format(dashboard=self.dashboard)
        container["command"] = ["/bin/bash", "-ce", "--"]
        container["args"] = [
            f'until python3 -c "{healthy}" >/dev/null 2>&1 ; do sleep 2 ; done ; '
            f"if ! ray job status {address} {submission} >/dev/null 2>&1 ; then "
            f"ray job submit {address} --no-wait --submission-id {submission} -- {self.spec['entrypoint']} ; fi ; "
            f"ray job logs {address} --follow {submission}"
        ]
        own = [
            {"name": "PYTHONUNBUFFERED", "value": "1"},
            {"name": "RAY_DASHBOARD_ADDRESS", "value": self.dashboard},
        ]
        container["env"] = [*container.get("env", []), *own, *self.authentication]
        return spec, container

    def _ray(
        self, group: Mapping[str, Any], address: str, *, head: bool
    ) -> tuple[Mapping[str, Any], dict[str, Any]]:
        spec = group["template"]["spec"]
        container = dict(spec["containers"][0])
        assert "command" not in container, "the operator puts its command in the place of the container's own"
        parameters = {
            "block": "true",
            "dashboard-agent-listen-port": "52365",
            "memory": str(_bytes(container["resources"]["limits"]["memory"])),
            "metrics-export-port": "8080",
            "num-cpus": group["resources"]["CPU"],
            "object-store-memory": str(OBJECT_STORE),
            **({"dashboard-host": "0.0.0.0"} if head else {"address": address}),
            **group.get("rayStartParams", {}),
        }
        flags = [f"--{name}" if value == "true" else f"--{name}={value}" for name, value in parameters.items()]
        command = " ".join(["ray start", *(["--head"] if head else []), *flags])
        own = {
            "FQ_RAY_IP": self.head_name,
            "RAY_ADDRESS": address,
            "RAY_CLUSTER_NAME": self.name,
            "RAY_PORT": "6379",
            "RAY_USAGE_STATS_KUBERAY_IN_USE": "1",
            "KUBERAY_GEN_RAY_START_CMD": command,
        }
        named = [{"name": name, "value": value} for name, value in own.items()]
        container["env"] = [*container.get("env", []), *named, *self.authentication]
        container |= {"command": ["/bin/bash", "-c", "--"], "args": [f"ulimit -n 65536; {command}"]}
        return spec, container


def _bytes(quantity: str) -> int:
    return int(quantity[:-2]) * UNITS[quantity[-2:]]
