"""The one module that knows kubectl: what it is asked, and what its refusals mean in a sentence."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import KubernetesError, ManifestError

NAMESPACE = "orch"
MANAGER = "orch"
_SENTENCES = {
    "connection refused": "no Kubernetes cluster answers at {context}; start it, or give another with --context",
    "was refused - did you specify": "no Kubernetes cluster answers at {context}; start it, or give --context",
    "Unable to connect to the server": "no Kubernetes cluster answers at {context}; look with kubectl cluster-info",
    "no configuration has been provided": "kubectl knows no cluster; make one, or give --context",
    '" does not exist': "kubectl knows no such context; kubectl config get-contexts lists them",
    "context was not found": "kubectl knows no such context; kubectl config get-contexts lists them",
    "ensure CRDs are installed first": (
        "the cluster does not know a kind of the manifest: {line}; install what brings it first, "
        "e.g. the KubeRay operator (infra/README.md)"
    ),
    "doesn't have a resource type \"ray": (
        "the cluster does not know RayJobs; install the KubeRay operator first (infra/README.md)"
    ),
    "(Forbidden)": "the cluster refuses that to this account: {line}",
    "Unauthorized": "the cluster does not know these credentials; log in again, or give another --context",
}


@dataclass(frozen=True)
class Kubectl:
    context: str | None = None
    namespace: str = NAMESPACE

    def apply(self, text: str) -> str:
        """Server-side, from stdin; what kubectl says of each object."""
        return self._call(["apply", "--server-side", f"--field-manager={MANAGER}", "-f", "-"], text)

    def create(self, text: str) -> bool:
        """Make what is not there; False where it was there meanwhile. What is given is never shown."""
        done = self._run(["create", "-f", "-"], text)
        if done.returncode and "AlreadyExists" not in done.stderr:
            raise self._error(done.stderr)
        return done.returncode == 0

    def get(self, kinds: Sequence[str]) -> list[Mapping[str, Any]]:
        """The objects of these kinds in the namespace."""
        found = json.loads(self._call(["get", ",".join(kinds), "--namespace", self.namespace, "-o", "json"]))
        items: list[Mapping[str, Any]] = found["items"]
        return items

    def there(self, kind: str, name: str) -> bool:
        """Whether the object is there; of a Secret nothing but that is asked."""
        arguments = ["get", kind, name, "--namespace", self.namespace, "--ignore-not-found"]
        return bool(self._call([*arguments, "-o", "jsonpath={.metadata.name}"]).strip())

    def delete(self, text: str) -> str:
        """What stands in the manifest, where it is there."""
        return self._call(["delete", "--ignore-not-found", "--wait=false", "-f", "-"], text)

    def delete_one(self, kind: str, name: str) -> str:
        """Until it is gone."""
        return self._call(["delete", kind, name, "--namespace", self.namespace, "--ignore-not-found"])

    def logs(self, pod: str, container: str, *, follow: bool) -> int:
        """Print the log of a pod as it comes; kubectl's exit code."""
        arguments = ["logs", pod, "--container", container]
        command = self._command([*arguments, "--namespace", self.namespace, *(["--follow"] if follow else [])])
        return subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode

    def _call(self, arguments: Sequence[str], text: str | None = None) -> str:
        done = self._run(arguments, text)
        if done.returncode:
            raise self._error(done.stderr)
        return done.stdout

    def _run(self, arguments: Sequence[str], text: str | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(arguments), input=text or "", capture_output=True, text=True, check=False
        )

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [_program(), *([f"--context={self.context}"] if self.context else []), *arguments]

    def _error(self, stderr: str) -> KubernetesError:
        line = _line(stderr)
        for sign, sentence in _SENTENCES.items():
            if sign in stderr:
                return KubernetesError(sentence.format(context=self.context or "the current context", line=line))
        return KubernetesError(f"kubectl: {line}")


def kustomize(folder: Path) -> str:
    """What `kubectl kustomize` prints of a folder; ManifestError with its own line where it cannot."""
    done = subprocess.run([_program(), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ManifestError(f"kubectl kustomize {folder}: {_line(done.stderr)}")
    return done.stdout


def _program() -> str:
    found = shutil.which("kubectl")
    if found is None:
        raise KubernetesError("kubectl is not installed, and manifests are rendered and applied by it; install it")
    return found


def _line(stderr: str) -> str:
    """What is wrong, on one line: from the last line that says so on, without the warnings before it."""
    plain = re.sub(r'(?m)^E\d{4} .*\] "command failed" err=[<"]?', "error: ", stderr)
    lines = [line.strip() for line in plain.splitlines() if line.strip(' \t">')] or ["failed"]
    signs = [place for place, line in enumerate(lines) if line.startswith(("error:", "Error", "The ", "Unable"))]
    told = " ".join(lines[signs[-1] :] if signs else lines[-1:])
    return told.removeprefix("error: ").removeprefix("Error: ")
