"""A small HTTP server that speaks enough of Kubernetes' API for the real kubectl: what it is sent, it keeps."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

KINDS = {
    "v1": {
        "namespaces": "Namespace",
        "configmaps": "ConfigMap",
        "secrets": "Secret",
        "services": "Service",
        "serviceaccounts": "ServiceAccount",
        "pods": "Pod",
        "limitranges": "LimitRange",
        "persistentvolumeclaims": "PersistentVolumeClaim",
    },
    "apps/v1": {"deployments": "Deployment", "statefulsets": "StatefulSet"},
    "rbac.authorization.k8s.io/v1": {"roles": "Role", "rolebindings": "RoleBinding"},
    "networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy"},
    "ray.io/v1": {"rayjobs": "RayJob", "rayclusters": "RayCluster"},
}
CLUSTER_WIDE = ("namespaces",)


class Cluster:
    """What is there, by (resource, name); `calls` are the requests that changed something, in order."""

    def __init__(self, kinds: Mapping[str, Mapping[str, str]] = KINDS) -> None:
        self.kinds = kinds
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.logs: dict[str, str] = {}
        self.forbidden: set[tuple[str, str]] = set()
        """(method, resource)"""
        self.before: dict[str, Callable[[Cluster], None]] = {}
        """Called before a list of the resource is answered: what happens meanwhile."""
        self.port = 0

    def add(self, resource: str, data: dict[str, Any]) -> None:
        api = next(api for api, kinds in self.kinds.items() if resource in kinds)
        data = {"apiVersion": api, "kind": self.kinds[api][resource], **data}
        data["metadata"] = {"namespace": "orch", **data["metadata"]}
        self.objects[resource, data["metadata"]["name"]] = data

    def names(self, resource: str) -> set[str]:
        return {name for kind, name in self.objects if kind == resource}

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path.startswith("/openapi/v3"):
            return self._openapi(path)
        found = self._discovery(path)
        if found is not None:
            return 200, found
        parts = path.strip("/").split("/")
        api, rest = ("v1", parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
        rest = rest[2:] if rest[:1] == ["namespaces"] and len(rest) > 2 else rest
        resource, name, *_ = [*rest, "", ""]
        if resource not in self.kinds.get(api, {}):
            return 404, _status("NotFound", f"no {resource}")
        if rest[2:] == ["log"]:
            return 200, self.logs.get(name, "")
        if (method, resource) in self.forbidden:
            return 403, _status("Forbidden", f"{resource} is forbidden: this account cannot {method} it")
        return self._object(method, api, resource, name or (body or {}).get("metadata", {}).get("name", ""), body)

    def _object(self, method: str, api: str, resource: str, name: str, body: Any) -> tuple[int, Any]:
        if method == "GET" and not name:
            if resource in self.before:
                self.before[resource](self)
            items = [value for (kind, _), value in sorted(self.objects.items()) if kind == resource]
            return 200, {"apiVersion": api, "kind": f"{self.kinds[api][resource]}List", "items": items}
        there = self.objects.get((resource, name))
        if method == "POST" and there is not None:
            return 409, _status("AlreadyExists", f'{resource} "{name}" already exists')
        if method in ("GET", "DELETE") and there is None:
            return 404, _status("NotFound", f'{resource} "{name}" not found')
        if method in ("POST", "PATCH"):
            self.calls.append((method, resource, name))
            body["metadata"] = {"uid": f"{resource}-{name}", "resourceVersion": "1", **body["metadata"]}
            self.objects[resource, name] = body
            return (200 if there else 201), body
        if method == "DELETE":
            self.calls.append((method, resource, name))
            return 200, self.objects.pop((resource, name))
        return 200, there

    def _discovery(self, path: str) -> Any:
        groups = [api for api in self.kinds if "/" in api]
        if path == "/version":
            return {"major": "1", "minor": "32", "gitVersion": "v1.32.4"}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            versions = [{"groupVersion": api, "version": api.split("/")[1]} for api in groups]
            named = zip(groups, versions, strict=True)
            listed = [{"name": api.split("/")[0], "versions": [one], "preferredVersion": one} for api, one in named]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        api = path.removeprefix("/apis/").removeprefix("/api/")
        if api not in self.kinds:
            return None
        verbs = ["get", "list", "create", "patch", "delete", "watch"]
        resources = [
            {"name": name, "singularName": "", "kind": kind, "verbs": verbs, "namespaced": name not in CLUSTER_WIDE}
            for name, kind in self.kinds[api].items()
        ]
        return {"kind": "APIResourceList", "groupVersion": api, "resources": resources}

    def _openapi(self, path: str) -> tuple[int, Any]:
        """That the server validates fields itself is all that kubectl asks."""
        places = {("api/v1" if api == "v1" else f"apis/{api}"): api for api in self.kinds}
        place = path.removeprefix("/openapi/v3").strip("/")
        if not place:
            return 200, {"paths": {one: {"serverRelativeURL": f"/openapi/v3/{one}"} for one in places}}
        api = places[place]
        group, _, version = api.rpartition("/")
        paths = {}
        for name, kind in self.kinds[api].items():
            known = {"group": group, "version": version, "kind": kind}
            parameters = [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}]
            operation = {"x-kubernetes-group-version-kind": known, "parameters": parameters, "responses": {}}
            paths[f"/{place}/{name}/{{name}}"] = {"patch": operation, "post": operation}
        return 200, {"openapi": "3.0.0", "info": {"title": "k", "version": "1"}, "paths": paths}


def _status(reason: str, message: str) -> dict[str, Any]:
    code = {"NotFound": 404, "AlreadyExists": 409, "Forbidden": 403}[reason]
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }


class _Handler(BaseHTTPRequestHandler):
    cluster: Cluster

    def _serve(self) -> None:
        url = urlsplit(self.path)
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        body = yaml.safe_load(text) if text else None
        code, found = self.cluster.answer(self.command, url.path, body)
        plain = isinstance(found, str)
        content = (found if plain else json.dumps(found)).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if plain else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server calls them so

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(cluster: Cluster, folder: Path) -> Iterator[Path]:
    """The kubeconfig of the cluster, while it is served."""
    handler = type("Handler", (_Handler,), {"cluster": cluster})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cluster.port = server.server_address[1]
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "small", "cluster": {"server": f"http://127.0.0.1:{cluster.port}"}}],
            "users": [{"name": "me", "user": {}}],
            "contexts": [{"name": "small", "context": {"cluster": "small", "user": "me"}}],
            "current-context": "small",
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(config), encoding="utf-8")
        try:
            yield path
        finally:
            server.shutdown()
