"""`orch infra apply`, `status`, `logs` and `delete`: the real kubectl against a small server of its API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.infra.documents import documents
from orchestrator.infra.follow import follow
from orchestrator.infra.kubectl import Kubectl
from orchestrator.infra.render import Request, render
from orchestrator.infra.secrets import RANDOM
from tests.helpers.cli import bare_machine, orch
from tests.helpers.services.kubernetes import KINDS, Cluster, served

pytestmark = pytest.mark.usefixtures("kubectl")
ARGUMENTS = ("--experiment", "cmd-meld")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    bare_machine(tmp_path, monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))
    found = Cluster()
    with served(found, tmp_path) as config:
        monkeypatch.setenv("KUBECONFIG", str(config))
        yield found


def test_apply_sends_what_render_prints(cluster: Cluster) -> None:
    done = orch("infra", "apply", "local", *ARGUMENTS)
    assert done.code == 0, done.err
    there = {(one["kind"], one["metadata"]["name"]): one for one in cluster.objects.values()}
    for document in documents(render(Request("local", "cmd-meld"))):
        sent = there[document.kind, document.name]
        assert {key: value for key, value in sent.items() if key != "metadata"} == {
            key: value for key, value in document.data.items() if key != "metadata"
        }
    assert "rayjob.ray.io/cmd-meld serverside-applied" in done.out


def test_secrets_are_made_once_and_never_shown(cluster: Cluster) -> None:
    first = orch("infra", "apply", "local", *ARGUMENTS)
    assert cluster.names("secrets") == set(RANDOM)
    assert cluster.calls.index(("PATCH", "namespaces", "orch")) == 0
    made = {name: cluster.objects["secrets", name]["stringData"] for name in RANDOM}
    values = [
        value for content in made.values() for key, value in content.items() if key != "MLFLOW_TRACKING_USERNAME"
    ]
    assert all(len(value) >= 32 for value in values) and len(set(values)) == len(values)
    assert {name: tuple(sorted(content)) for name, content in made.items()} == {
        name: tuple(sorted(keys)) for name, keys in RANDOM.items()
    }
    again = orch("infra", "apply", "local", *ARGUMENTS)
    assert (first.code, again.code) == (0, 0), again.err
    assert {name: cluster.objects["secrets", name]["stringData"] for name in RANDOM} == made
    said = first.out + first.err + again.out + again.err
    assert not [value for value in values if value in said]


def test_the_keys_of_a_real_store_are_the_users_to_give(cluster: Cluster, tmp_path: Path) -> None:
    overlay = tmp_path / "mine"
    overlay.mkdir()
    base = "/".join([".."] * len(overlay.resolve().parts[1:])) + str(Path(__file__).parents[2] / "infra" / "base")
    (overlay / "kustomization.yaml").write_text(f"resources: [{base}]\n", encoding="utf-8")
    done = orch("infra", "apply", str(overlay), *ARGUMENTS)
    assert done.code == 2
    assert "there is no Secret orch-object-store" in done.err
    assert "put AWS_ACCESS_KEY_ID=... and AWS_SECRET_ACCESS_KEY=... into a file" in done.err
    assert cluster.names("secrets") == set() and cluster.names("rayjobs") == set()


def test_an_account_that_may_start_sweeps_alone_does(cluster: Cluster) -> None:
    others = {resource for kinds in KINDS.values() for resource in kinds} - {"rayjobs", "configmaps"}
    cluster.forbidden = {(method, resource) for resource in others for method in ("GET", "POST", "PATCH")}
    done = orch("infra", "apply", "local", *ARGUMENTS, "--sweep-only")
    assert done.code == 0, done.err
    assert cluster.calls == [("PATCH", "rayjobs", "cmd-meld")]
    whole = orch("infra", "apply", "local", *ARGUMENTS)
    assert (whole.code, "the cluster refuses that to this account" in whole.err) == (1, True)


def test_a_sweep_that_has_ended_is_not_taken_for_a_new_one(cluster: Cluster) -> None:
    cluster.add("rayjobs", {"metadata": {"name": "cmd-meld"}, "status": {"jobDeploymentStatus": "Complete"}})
    refused = orch("infra", "apply", "local", *ARGUMENTS, "--sweep-only")
    assert (refused.code, "RayJob cmd-meld has ended (Complete)" in refused.err) == (2, True)
    assert orch("infra", "apply", "local", *ARGUMENTS, "--sweep-only", "--again").code == 0
    assert cluster.calls == [("DELETE", "rayjobs", "cmd-meld"), ("PATCH", "rayjobs", "cmd-meld")]


def test_delete_leaves_what_cannot_be_made_again(cluster: Cluster) -> None:
    orch("infra", "apply", "local", "--with", "data")
    asked = orch("infra", "delete", "local", "--with", "data")
    assert (asked.code, cluster.names("rayjobs")) == (1, {"sweep"})
    assert orch("infra", "delete", "local", "--with", "data", "--sweep-only", "--yes").code == 0
    assert cluster.names("rayjobs") == set() and "mlflow" in cluster.names("deployments")
    done = orch("infra", "delete", "local", "--with", "data", "--yes")
    assert done.code == 0, done.err
    assert {kind for kind, _ in cluster.objects} == {"namespaces", "secrets", "persistentvolumeclaims"}
    assert orch("infra", "delete", "local", "--with", "data", "--yes", "--all").code == 0
    assert cluster.names("namespaces") == cluster.names("persistentvolumeclaims") == set()


def pod(name: str, component: str, status: dict[str, Any], job: str = "") -> dict[str, Any]:
    labels = {"app.kubernetes.io/component": component, **({"batch.kubernetes.io/job-name": job} if job else {})}
    containers = [{"name": "ray-job-submitter"}]
    return {"metadata": {"name": name, "labels": labels}, "spec": {"containers": containers}, "status": status}


def test_status_says_why_something_waits(cluster: Cluster) -> None:
    assert "nothing runs in namespace orch" in orch("infra", "status").out
    unplaced = {
        "type": "PodScheduled",
        "status": "False",
        "message": "0/1 nodes are available: 1 Insufficient cpu.",
    }
    pulling = {
        "name": "ray-head",
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "orch:0.1.0-cpu"}},
    }
    job = {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "message": "Job\nexited with 2"}
    cluster.add("rayjobs", {"metadata": {"name": "cmd-meld"}, "status": job})
    cluster.add("rayjobs", {"metadata": {"name": "fresh"}})
    cluster.add("pods", pod("w", "ray-worker", {"phase": "Pending", "conditions": [unplaced]}))
    cluster.add("pods", pod("h", "ray-head", {"phase": "Pending", "containerStatuses": [pulling]}))
    cluster.add("pods", pod("m", "mlflow", {"phase": "Running"}))
    assert [" ".join(line.split()) for line in orch("infra", "status").out.splitlines()] == [
        "rayjob cmd-meld Failed, job failed: Job exited with 2",
        "rayjob fresh not seen by the operator yet",
        "pod h ray-head pending: ray-head: ImagePullBackOff (orch:0.1.0-cpu)",
        "pod m mlflow running",
        "pod w ray-worker pending: 0/1 nodes are available: 1 Insufficient cpu.",
    ]


def test_logs_are_those_of_the_submitter(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    none = orch("infra", "logs", "cmd-meld")
    assert (none.code, "has no submitter yet" in none.err) == (1, True)
    cluster.add("pods", pod("cmd-meld-x", "submitter", {"phase": "Running"}, job="cmd-meld"))
    cluster.logs["cmd-meld-x"] = "trial 1 of 12\n"
    assert orch("infra", "logs", "cmd-meld").code == 0
    assert capfd.readouterr().out == "trial 1 of 12\n"


def sweep_in(state: str, outcome: str = "", message: str = "") -> dict[str, Any]:
    status = {"jobDeploymentStatus": state, "jobStatus": outcome, "message": message}
    return {"metadata": {"name": "cmd-meld"}, "spec": {}, "status": status}


def attempt(name: str, made: str, phase: str) -> dict[str, Any]:
    found = pod(name, "submitter", {"phase": phase}, job="cmd-meld")
    found["metadata"] |= {"uid": name, "creationTimestamp": made}
    return found


@pytest.mark.parametrize(("outcome", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("STOPPED", 1)])
def test_a_log_is_followed_through_every_attempt_and_exits_as_the_sweep(
    cluster: Cluster, capfd: pytest.CaptureFixture[str], outcome: str, code: int
) -> None:
    """The operator begins anew in a new cluster while the first one's log is still the only one there."""
    states = iter(["Initializing", "Running", "Retrying", "Running", "Complete"])
    looks = []

    def look(cluster: Cluster) -> None:
        state = next(states)
        looks.append(state)
        cluster.add("rayjobs", sweep_in(state, outcome if state == "Complete" else "", "as it was"))
        if looks.count("Running") == 1:
            cluster.add("pods", attempt("first", "2026-01-01T00:00:01Z", "Failed"))
        if looks.count("Running") == 2:
            cluster.add("pods", attempt("second", "2026-01-01T00:00:02Z", "Succeeded"))

    cluster.logs = {"first": "trial 1 of 12\n", "second": "trial 2 of 12\n"}
    cluster.before["rayjobs"] = look
    kubectl, said = Kubectl(), list[str]()
    assert follow(kubectl, "cmd-meld", said.append, look=0.01) == code
    assert capfd.readouterr().out == "trial 1 of 12\ntrial 2 of 12\n"
    assert [line.partition(";")[0] for line in said] == [
        *("sweep cmd-meld: Initializing", "sweep cmd-meld: Retrying"),
        f"sweep cmd-meld ended: {outcome.lower()} as it was",
    ]
    assert looks == ["Initializing", "Running", "Retrying", "Running", "Complete"]


def test_of_several_attempts_the_latest_is_printed(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    cluster.add("pods", attempt("a-new", "2026-01-01T00:00:02Z", "Running"))
    cluster.add("pods", attempt("b-old", "2026-01-01T00:00:01Z", "Failed"))
    cluster.logs = {"a-new": "second\n", "b-old": "first\n"}
    assert orch("infra", "logs", "cmd-meld").code == 0
    assert capfd.readouterr().out == "second\n"


def test_a_sweep_that_is_not_there_cannot_be_followed(cluster: Cluster) -> None:
    cluster.add("rayjobs", sweep_in("Running"))
    done = orch("infra", "logs", "other", "--follow")
    assert (done.code, done.err) == (
        1,
        "error: there is no sweep other in namespace orch; orch infra status lists them\n",
    )


def test_a_cluster_without_the_operator_is_one_sentence(cluster: Cluster) -> None:
    cluster.kinds = {api: kinds for api, kinds in KINDS.items() if api != "ray.io/v1"}
    done = orch("infra", "status")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "install the KubeRay operator first" in done.err


def test_no_cluster_and_no_kubectl_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_machine(tmp_path, monkeypatch)
    with served(Cluster(), tmp_path) as config:
        monkeypatch.setenv("KUBECONFIG", str(config))
    done = orch("infra", "status")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "no Kubernetes cluster answers" in done.err
    unknown = orch("infra", "status", "--context", "elsewhere")
    assert (unknown.code, "kubectl knows no such context" in unknown.err) == (1, True)
    monkeypatch.setenv("PATH", str(tmp_path))
    absent = orch("infra", "render", "local")
    assert (absent.code, "kubectl is not installed" in absent.err) == (1, True)
