"""What KubeRay 1.7 refuses of a RayJob, a function each; Kueue's word on one too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from orchestrator.infra.documents import Document, grows, mapping, sequence
from orchestrator.infra.finding import Finding, finding, shown
from orchestrator.yaml_text import parse

MODES = ("K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode")
_ORDER = ("DeleteWorkers", "DeleteCluster", "DeleteSelf")
_QUEUE = "kueue.x-k8s.io/queue-name"


def jobs(found: Sequence[Document]) -> Iterator[tuple[Document, Mapping[str, Any]]]:
    for document in found:
        if document.kind == "RayJob":
            yield document, document.spec


def modes(found: Sequence[Document]) -> Iterator[Finding]:
    """The schema knows no list of them."""
    for job, spec in jobs(found):
        mode = spec.get("submissionMode", MODES[0])
        if mode not in MODES:
            yield finding(job, "spec.submissionMode", f"{mode!r} is none", f"give {' or '.join(MODES)}")


def suspension(found: Sequence[Document]) -> Iterator[Finding]:
    for job, spec in jobs(found):
        if spec.get("suspend") is True and not spec.get("shutdownAfterJobFinishes"):
            yield finding(job, "spec.suspend", "true without shutdownAfterJobFinishes", "set that too")
        if spec.get("suspend") is True and spec.get("clusterSelector"):
            yield finding(job, "spec.suspend", "true with a clusterSelector", "leave one of them away")


def amounts(found: Sequence[Document]) -> Iterator[Finding]:
    least = {
        "ttlSecondsAfterFinished": 0,
        "backoffLimit": 0,
        "activeDeadlineSeconds": 1,
        "preRunningDeadlineSeconds": 1,
    }
    for job, spec in jobs(found):
        for key, bound in least.items():
            if isinstance(spec.get(key), int) and spec[key] < bound:
                yield finding(job, f"spec.{key}", f"{spec[key]} is too small", f"give at least {bound}")


def time_to_live(found: Sequence[Document]) -> Iterator[Finding]:
    for job, spec in jobs(found):
        if spec.get("ttlSecondsAfterFinished") and not spec.get("shutdownAfterJobFinishes"):
            told = f"{spec['ttlSecondsAfterFinished']} without shutdownAfterJobFinishes"
            yield finding(job, "spec.ttlSecondsAfterFinished", told, "set that too")


def one_cluster(found: Sequence[Document]) -> Iterator[Finding]:
    for job, spec in jobs(found):
        selector = spec.get("clusterSelector")
        if not selector and not spec.get("rayClusterSpec"):
            yield finding(job, "spec", "neither rayClusterSpec nor clusterSelector", "give one of them")
        if selector and not mapping(selector).get("ray.io/cluster"):
            yield finding(job, "spec.clusterSelector", "no cluster is named", "give ray.io/cluster: NAME")
        if selector and spec.get("submissionMode") == "SidecarMode":
            yield finding(job, "spec.clusterSelector", "SidecarMode has its own cluster", "leave it away")


def retries(found: Sequence[Document]) -> Iterator[Finding]:
    for job, spec in jobs(found):
        if spec.get("backoffLimit") and spec.get("submissionMode") == "InteractiveMode":
            yield finding(job, "spec.backoffLimit", f"{spec['backoffLimit']} in InteractiveMode", "give 0")
        if spec.get("backoffLimit") and spec.get("clusterSelector"):
            yield finding(job, "spec.backoffLimit", f"{spec['backoffLimit']} with a clusterSelector", "give 0")


def sidecars(found: Sequence[Document]) -> Iterator[Finding]:
    for job, spec in jobs(found):
        if spec.get("submissionMode") != "SidecarMode":
            continue
        for key in ("submitterPodTemplate", "submitterConfig"):
            if key in spec:
                yield finding(job, f"spec.{key}", "SidecarMode has no submitter's pod", "leave it away")
        policy = (
            mapping(spec, "rayClusterSpec", "headGroupSpec", "template", "spec").get("restartPolicy") or "Never"
        )
        if policy != "Never":
            told = f"{policy!r} of the head in SidecarMode"
            yield finding(job, "spec.rayClusterSpec.headGroupSpec.template.spec.restartPolicy", told, "give Never")


def runtime_environment(found: Sequence[Document]) -> Iterator[Finding]:
    for job, spec in jobs(found):
        try:
            parse(str(spec.get("runtimeEnvYAML", "")))
        except yaml.YAMLError:
            told = f"{shown(spec['runtimeEnvYAML'])} is not YAML"
            yield finding(job, "spec.runtimeEnvYAML", told, "leave it away; the image has all that runs")


def deletion(found: Sequence[Document]) -> Iterator[Finding]:
    """Either rules or both policies, and rules without shutdownAfterJobFinishes."""
    for job, spec in jobs(found):
        strategy, place = spec.get("deletionStrategy"), "spec.deletionStrategy"
        if not isinstance(strategy, Mapping):
            continue
        rules = sequence(strategy, "deletionRules")
        policies = [key for key in ("onSuccess", "onFailure") if key in strategy]
        if rules and policies:
            yield finding(job, place, f"deletionRules and {policies[0]} together", "keep the rules")
        elif not rules and len(policies) != 2:
            yield finding(job, place, "neither deletionRules nor both policies", "give deletionRules")
        if rules and spec.get("shutdownAfterJobFinishes"):
            told = "deletionRules exclude shutdownAfterJobFinishes"
            yield finding(job, f"{place}.deletionRules", told, "leave one of them away")
        told_policies = [mapping(strategy, key).get("policy") for key in policies]
        if "DeleteNone" in told_policies and spec.get("shutdownAfterJobFinishes"):
            yield finding(job, place, "DeleteNone with shutdownAfterJobFinishes", "leave one of them away")
        for policy in (*told_policies, *(rule.get("policy") for rule in rules)):
            if policy == "DeleteWorkers" and grows(mapping(spec, "rayClusterSpec")):
                yield finding(job, place, "DeleteWorkers with the autoscaler", "let it delete the cluster")
            if policy in ("DeleteWorkers", "DeleteCluster") and spec.get("clusterSelector"):
                yield finding(job, place, f"{policy} with a clusterSelector", "the cluster is not the job's")


def deletion_order(found: Sequence[Document]) -> Iterator[Finding]:
    """Of one condition each policy once, and workers before the cluster before the job."""
    for job, spec in jobs(found):
        place, seen = "spec.deletionStrategy.deletionRules", dict[tuple[object, object], dict[str, int]]()
        for rule in sequence(spec, "deletionStrategy", "deletionRules"):
            condition, policy = mapping(rule, "condition"), str(rule.get("policy"))
            key = (condition.get("jobStatus"), condition.get("jobDeploymentStatus"))
            if (key[0] is None) == (key[1] is None):
                told = "a condition names jobStatus or jobDeploymentStatus, one of them"
                yield finding(job, place, told, "give one")
            after = seen.setdefault(key, {})
            if policy in after:
                yield finding(job, place, f"{policy} twice for {key[0] or key[1]}", "keep one")
            after[policy] = int(condition.get("ttlSeconds", 0))
        for after in seen.values():
            seconds = [after[policy] for policy in _ORDER if policy in after]
            if seconds != sorted(seconds):
                told = f"the ttlSeconds {seconds} of {', '.join(one for one in _ORDER if one in after)} go down"
                yield finding(job, place, told, "delete workers first, then the cluster, then the job")


def queued(found: Sequence[Document]) -> Iterator[Finding]:
    """Kueue's rule: what it admits must keep its size."""
    for document in found:
        spec = document.cluster[1] if document.cluster else {}
        if _QUEUE in document.labels and grows(spec):
            told = f"{document.labels[_QUEUE]!r}, and Kueue admits nothing that scales by itself"
            yield finding(document, f"metadata.labels.{_QUEUE}", told, "leave component kueue or autoscaler away")


RULES = (
    modes,
    suspension,
    amounts,
    time_to_live,
    one_cluster,
    retries,
    sidecars,
    runtime_environment,
    deletion,
    deletion_order,
    queued,
)
