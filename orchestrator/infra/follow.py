"""A sweep's log as it comes, through every attempt, to its end: `orch infra logs`.

The driver runs on the head and prints through its submitter's pod. A sweep that fails is tried again by the
operator in a new cluster, with a new submitter, so that the log of one pod is not the sweep's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.errors import KubernetesError
from orchestrator.infra.documents import mapping
from orchestrator.infra.kubectl import NAMESPACE, Kubectl

ENDED = ("Complete", "Failed")
SUBMITTER = "ray-job-submitter"
LOOK_SECONDS = 5.0
_JOB_LABEL = "batch.kubernetes.io/job-name"
Say = Callable[[str], None]
Object = Mapping[str, Any]


def logs(kubectl: Kubectl, name: str) -> int:
    """Print what the latest attempt has printed so far; kubectl's exit code."""
    found = _submitters(kubectl, name)
    if not found:
        raise KubernetesError(f"sweep {name} has no submitter yet, so no log; orch infra status says why")
    return kubectl.logs(_name(found[-1]), SUBMITTER, follow=False)


def follow(kubectl: Kubectl, name: str, say: Say, look: float = LOOK_SECONDS) -> int:
    """Print what every attempt from the latest on prints, until the sweep has ended; 0 where it succeeded, else 1.

    `say` is told what is waited for meanwhile. look: seconds between two looks.
    """
    seen: set[str] = set()
    told = ""
    while True:
        job = _job(kubectl, name)
        state = str(mapping(job, "status").get("jobDeploymentStatus") or "not seen by the operator yet")
        fresh = [pod for pod in _submitters(kubectl, name) if _uid(pod) not in seen and _started(pod)]
        if fresh:
            seen |= {_uid(pod) for pod in fresh}
            kubectl.logs(_name(fresh[-1]), SUBMITTER, follow=True)
        elif state in ENDED:
            return _outcome(job, say)
        else:
            if state != told:
                told = state
                say(f"sweep {name}: {state}; orch infra status says what waits")
            time.sleep(look)


def _outcome(job: Object, say: Say) -> int:
    status = mapping(job, "status")
    outcome, message = str(status.get("jobStatus") or "without a job"), str(status.get("message") or "")
    say(f"sweep {_name(job)} ended: {' '.join([outcome.lower(), message]).strip()}")
    return int(outcome != "SUCCEEDED")


def _job(kubectl: Kubectl, name: str) -> Object:
    for job in kubectl.get(["rayjobs"]):
        if _name(job) == name:
            return job
    raise KubernetesError(f"there is no sweep {name} in namespace {NAMESPACE}; orch infra status lists them")


def _submitters(kubectl: Kubectl, name: str) -> list[Object]:
    """The oldest first."""
    pods = [pod for pod in kubectl.get(["pods"]) if mapping(pod, "metadata", "labels").get(_JOB_LABEL) == name]
    return sorted(pods, key=lambda pod: str(mapping(pod, "metadata").get("creationTimestamp", "")))


def _started(pod: Object) -> bool:
    """Before that there is nothing to read, and kubectl would say so."""
    return mapping(pod, "status").get("phase") in ("Running", "Succeeded", "Failed")


def _name(one: Object) -> str:
    return str(mapping(one, "metadata").get("name"))


def _uid(pod: Object) -> str:
    return str(mapping(pod, "metadata").get("uid") or _name(pod))
