"""A container of a rendered pod as a process of ours: its command and environment, resolved as the kubelet does.

It runs as the pod's user, with no new privileges and a root file system that is read-only but for what the pod
mounts; those folders are private to it and empty. Its network is ours, and of capabilities it has the one to read
what is root's, since this Python may lie in root's home.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[3]
INFRA = REPOSITORY / "infra"
Values = Mapping[str, Mapping[str, str]]
"""What ConfigMaps or Secrets hold, by their name."""
_SET_UP = """set -e
mount --make-rprivate /
owner=$1; folders=$2; shift 2
for folder in $folders; do
  if [ ! -d "$folder" ]; then mount -t tmpfs tmpfs "${folder%/*}"; mkdir -p "$folder"; fi
  mount -t tmpfs -o "mode=0770,uid=$owner,gid=$owner" tmpfs "$folder"
done
mount -o remount,bind,ro /
left=-all,+dac_read_search
exec setpriv --reuid="$owner" --regid="$owner" --clear-groups --no-new-privs \\
  --bounding-set=$left --inh-caps=$left --ambient-caps=$left "$@"
"""


def kustomize(folder: Path) -> list[dict[str, Any]]:
    """The documents that `kubectl kustomize` makes of a folder; skips where it is not installed."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed, and it renders the manifests")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def named(documents: Sequence[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [one for one in documents if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


@cache
def why_not() -> str | None:
    """A sentence where this machine cannot run a container so."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "mount namespaces need root on Linux"
    try:
        done = subprocess.run(_wrapped(1000, ["/tmp"], ["true"]), capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return f"mount namespaces need util-linux: {error}"
    return f"no mount namespaces: {done.stderr.strip()}" if done.returncode else None


@dataclass(frozen=True)
class Container:
    command: tuple[str, ...]
    environment: dict[str, str]
    user: int
    folders: tuple[str, ...]
    """Where the pod mounts something of its own."""

    @classmethod
    def of(cls, workload: Mapping[str, Any], name: str, configs: Values, secrets: Values) -> Container:
        """The container of that name, init or not; KeyError where it refers to what is not given."""
        pod = workload["spec"]["template"]["spec"]
        (found,) = [one for one in [*pod.get("initContainers", []), *pod["containers"]] if one["name"] == name]
        return cls(
            (*found.get("command", []), *found.get("args", [])),
            _environment(found, configs, secrets),
            pod["securityContext"]["runAsUser"],
            tuple(mount["mountPath"] for mount in found["volumeMounts"]),
        )

    def given(self, **environment: str) -> Container:
        return replace(self, environment={**self.environment, **environment})

    def running(self, program: Path) -> Container:
        """With another path of its program: in an image it lies elsewhere."""
        return replace(self, command=(str(program), *self.command[1:]))

    @property
    def process(self) -> list[str]:
        """What runs it; `environment` is to be given beside, as a command line is everybody's to read."""
        ours = [name for name in os.environ if name.startswith(("AWS_", "MLFLOW_", "ORCH_", "PG"))]
        forget = [f"--unset={name}" for name in ours if name not in self.environment]
        return ["env", *forget, *_wrapped(self.user, self.folders, self.command)]


def _environment(container: Mapping[str, Any], configs: Values, secrets: Values) -> dict[str, str]:
    found = {"HOME": "/home/orch", "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"}
    for source in container.get("envFrom", []):
        found |= (
            secrets[source["secretRef"]["name"]]
            if "secretRef" in source
            else configs[source["configMapRef"]["name"]]
        )
    for one in container.get("env", []):
        value = one["value"] if "value" in one else _referred(one["valueFrom"], configs, secrets)
        if value is not None:
            found[one["name"]] = value
    return found


def _referred(source: Mapping[str, Any], configs: Values, secrets: Values) -> str | None:
    ((kind, key),) = source.items()
    values = {"secretKeyRef": secrets, "configMapKeyRef": configs}[kind][key["name"]]
    return values.get(key["key"]) if key.get("optional") else values[key["key"]]


def _wrapped(user: int, folders: Sequence[str], command: Sequence[str]) -> list[str]:
    return ["unshare", "--mount", "sh", "-c", _SET_UP, "sh", str(user), " ".join(folders), *command]
