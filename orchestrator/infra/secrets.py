"""The Secrets that a manifest names: what may be random is made once, in the cluster, and shown to nobody.

They go to kubectl by its standard input, never as arguments, and what is there is never overwritten.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from orchestrator.errors import ManifestError
from orchestrator.infra.documents import Document, mapping, pods, sequence
from orchestrator.infra.kubectl import NAMESPACE, Kubectl
from orchestrator.infra.rules.clusters import clusters

OBJECT_STORE = "orch-object-store"
RANDOM = {
    "orch-ray-token": ("auth_token",),
    "orch-mlflow": ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
    "orch-mlflow-admin": ("MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"),
    "orch-postgres": ("POSTGRES_PASSWORD", "MLFLOW_DB_PASSWORD"),
    OBJECT_STORE: ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
}
"""What each holds. That of the object store only where the store is the manifest's own."""
FIXED = {"MLFLOW_TRACKING_USERNAME": "orch"}
"""What is no secret."""


@dataclass
class Wanted:
    name: str
    keys: set[str] = field(default_factory=set)

    def manifest(self) -> str:
        content = {key: FIXED.get(key) or secrets.token_urlsafe(32) for key in sorted(self.keys)}
        metadata = {"name": self.name, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/part-of": "orch"}}
        return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": content})


def wanted(found: Sequence[Document]) -> list[Wanted]:
    """The Secrets without which a pod does not start, with the keys that are known of them."""
    by_name: dict[str, Wanted] = {}
    for name, keys in _references(found):
        entry = by_name.setdefault(name, Wanted(name))
        entry.keys |= {*keys, *RANDOM.get(name, ())}
    return [by_name[name] for name in sorted(by_name)]


def make_missing(kubectl: Kubectl, found: Sequence[Document]) -> list[str]:
    """Make those that may be random and are not there; their names. ManifestError for one that only a user knows.

    All are looked for before any is made.
    """
    missing = [one for one in wanted(found) if not kubectl.there("secret", one.name)]
    own_store = any(pod.component == "object-store" for document in found for pod in pods(document))
    for one in missing:
        if one.name not in RANDOM or (one.name == OBJECT_STORE and not own_store):
            keys = " and ".join(f"{key}=..." for key in sorted(one.keys)) or "what its pods read"
            raise ManifestError(
                f"there is no Secret {one.name} in namespace {NAMESPACE}, and only you know it: put {keys} "
                f"into a file, then kubectl -n {NAMESPACE} create secret generic {one.name} --from-env-file=FILE"
            )
    return [one.name for one in missing if kubectl.create(one.manifest())]


def _references(found: Sequence[Document]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(name, keys) of every Secret that is not optional."""
    for document in found:
        for pod in pods(document):
            for volume in sequence(pod.spec, "volumes"):
                secret = mapping(volume, "secret")
                if secret.get("secretName") and not secret.get("optional"):
                    yield str(secret["secretName"]), tuple(str(one["key"]) for one in sequence(secret, "items"))
            for container in pod.containers:
                whole = [mapping(source, "secretRef") for source in container.env_from]
                single = [mapping(entry, "valueFrom", "secretKeyRef") for entry in container.env]
                for reference in (*whole, *single):
                    if reference.get("name") and not reference.get("optional"):
                        yield str(reference["name"]), (str(reference["key"]),) if "key" in reference else ()
    for _, _, spec in clusters(found):
        if mapping(spec, "authOptions").get("secretName"):
            yield str(spec["authOptions"]["secretName"]), ()
