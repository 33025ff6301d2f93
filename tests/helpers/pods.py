"""Containers of rendered manifests, started as a node's kubelet would start them, by crun.

User, groups, capabilities, privileges, seccomp profile, root, environment, Secrets, ConfigMaps and emptyDirs are
those of the manifest. What a node has beside: cgroups (here no limit holds anything), and Services with their DNS
(here names stand in /etc/hosts).
"""

from __future__ import annotations

import json
import os
import re
import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.services.namespaces import Namespaces
from tests.helpers.services.process import Service

PROFILE = Path("/usr/share/containers/seccomp.json")
"""The default of Debian's container tools."""
ARCHES = {"amd64", "x32", "x86"}
APART = ["unshare", "--mount", "sh", "-c", 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"', "sh"]
"""crun refuses a machine that has both kinds of cgroups, though it is to use none."""
MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug"]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
SYSTEM: list[dict[str, Any]] = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {
        "destination": "/dev",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
    },
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
]


@dataclass(frozen=True)
class Objects:
    """What the namespace holds: ConfigMaps of the manifests, and Secrets, which are in none."""

    documents: Sequence[Mapping[str, Any]]
    secrets: Mapping[str, Mapping[str, str]]

    def find(self, kind: str, name: str) -> Mapping[str, Any]:
        (found,) = (
            one for one in self.documents if one["kind"] == kind and one["metadata"]["name"] == name
        )  # the one and only
        return found

    def data(self, kind: str, name: str, *, optional: bool) -> Mapping[str, str]:
        try:
            if kind == "Secret":
                return self.secrets[name]
            found: Mapping[str, str] = self.find(kind, name)["data"]
        except (KeyError, ValueError):
            if optional:
                return {}
            raise AssertionError(f"a container asks for the {kind} {name}, which is nowhere") from None
        return found

    def environment(self, container: Mapping[str, Any]) -> dict[str, str]:
        """As the container sees it, in the order of the manifest."""
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                if reference := source.get(key):
                    found |= self.data(kind, reference["name"], optional=reference.get("optional", False))
        for one in container.get("env", []):
            value = self._value(one)
            if value is not None:
                found[one["name"]] = re.sub(r"\$\((\w+)\)", lambda m: found.get(m[1], m[0]), value)
        return found

    def _value(self, one: Mapping[str, Any]) -> str | None:
        if "valueFrom" not in one:
            return str(one.get("value", ""))
        for kind, key in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
            if reference := one["valueFrom"].get(key):
                optional = reference.get("optional", False)
                data = self.data(kind, reference["name"], optional=optional)
                assert optional or reference["key"] in data, f"{one['name']}: {kind} has no {reference['key']}"
                return data.get(reference["key"])
        raise AssertionError(f"{one['name']}: {one['valueFrom']} is of a kind that these pods do not know")


@dataclass(frozen=True)
class Node:
    """Where pods are started: `private` holds what only a node's root may read, `volumes` what pods write."""

    private: Path
    volumes: Path
    logs: Path
    root: Path
    """Of the image's file system, shared by all, as every root is read-only."""
    image: Mapping[str, Any]
    """Its configuration."""
    objects: Objects
    machines: Namespaces
    hosts: Mapping[str, str]
    """Address by name, in place of Services."""


@dataclass
class Pod:
    """One pod on the machine `machine`, whose network it has."""

    node: Node
    name: str
    spec: Mapping[str, Any]
    machine: int
    started: int = field(default=0)

    def service(
        self, container: Mapping[str, Any], ready: Callable[[], bool] | None = None, log: str | None = None
    ) -> Service:
        """The container, to be started; `container` as in the manifest, with `command` and `args`."""
        self.started += 1
        name = f"{self.name}-{container['name']}-{self.started}"
        bundle = self.node.private / name
        bundle.mkdir(parents=True)
        (bundle / "config.json").write_text(json.dumps(self._configuration(container, bundle)))
        command = [*self._crun(), "run", "--bundle", str(bundle), name]
        return Service(command, self.node.logs / f"{log or name}.log", ready, {})

    def run(self, container: Mapping[str, Any], seconds: float = 300) -> tuple[int, str]:
        """Exit status and output of a container that ends."""
        with self.service(container) as service:
            status = service.wait(seconds)
        return status, service.output()

    def _crun(self) -> list[str]:
        return [*APART, "crun", "--root", str(self.node.private / "crun"), "--cgroup-manager", "disabled"]

    def _configuration(self, container: Mapping[str, Any], bundle: Path) -> dict[str, Any]:
        context = {**self.spec.get("securityContext", {}), **container.get("securityContext", {})}
        linux: dict[str, Any] = {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        }
        network = f"/proc/{self.node.machines.machines[self.machine].init}/ns/net"
        linux["namespaces"].append({"type": "network", "path": network})
        if context.get("seccompProfile", {}).get("type") == "RuntimeDefault":
            linux["seccomp"] = seccomp()
        return {
            "ociVersion": "1.0.2",
            "hostname": self.name,
            "root": {"path": str(self.node.root), "readonly": bool(context.get("readOnlyRootFilesystem"))},
            "process": self._process(container, context),
            "mounts": [*SYSTEM, *self._files(bundle), *self._volumes(container, context["fsGroup"])],
            "linux": linux,
        }

    def _process(self, container: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
        assert context["capabilities"] == {"drop": ["ALL"]}, "these pods know no other capabilities than none"
        image = self.node.image
        environment = dict(pair.split("=", 1) for pair in image["Env"])
        environment |= {"HOSTNAME": self.name, **self.node.objects.environment(container)}
        words = container.get("command") or image.get("Entrypoint", [])
        default = [] if container.get("command") else image.get("Cmd", [])
        kinds = ("bounding", "effective", "inheritable", "permitted", "ambient")
        nothing: list[str] = []
        _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
        return {
            "user": {
                "uid": context["runAsUser"],
                "gid": context["runAsGroup"],
                "additionalGids": [context["fsGroup"]],
            },
            "args": [*words, *(container.get("args") or default)],
            "env": [f"{name}={value}" for name, value in environment.items()],
            "cwd": container.get("workingDir") or image.get("WorkingDir") or "/",
            "noNewPrivileges": not context.get("allowPrivilegeEscalation", True),
            "capabilities": dict.fromkeys(kinds, nothing),
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": files, "soft": files}],
        }

    def _files(self, bundle: Path) -> list[dict[str, Any]]:
        """What a kubelet writes for every pod."""
        address = self.node.machines.addresses[self.machine]
        names = {"localhost": "127.0.0.1", self.name: address, **self.node.hosts}
        (bundle / "hosts").write_text("".join(f"{where}\t{name}\n" for name, where in names.items()))
        (bundle / "resolv.conf").write_text("")
        return [_bound(f"/etc/{name}", bundle / name, read_only=True) for name in ("hosts", "resolv.conf")]

    def _volumes(self, container: Mapping[str, Any], group: int) -> list[dict[str, Any]]:
        volumes = {volume["name"]: volume for volume in self.spec.get("volumes", [])}
        mounts, asked = [], container.get("volumeMounts", [])
        for mount in sorted(asked, key=lambda one: str(one["mountPath"])):
            volume, target = volumes[mount["name"]], mount["mountPath"]
            assert "emptyDir" in volume, f"{mount['name']}: these pods know emptyDirs alone"
            if volume["emptyDir"].get("medium") == "Memory":
                mounts.append(_memory(target))
                continue
            folder = self.node.volumes / self.name / mount["name"]
            if not folder.exists():
                folder.mkdir(parents=True)
                folder.chmod(0o2777)
                os.chown(folder, 0, group)
            mounts.append(_bound(target, folder, read_only=mount.get("readOnly", False)))
        if not any(mount["destination"] == "/dev/shm" for mount in mounts):
            mounts.append(_memory("/dev/shm"))
        return mounts


def seccomp() -> dict[str, Any]:
    """The profile as the runtime wants it: without what holds for other machines, or for other capabilities."""
    profile = json.loads(PROFILE.read_text())
    kept = []
    for rule in profile["syscalls"]:
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        foreign = includes.get("caps") or ("arches" in includes and not ARCHES & set(includes["arches"]))
        if foreign or ARCHES & set(excludes.get("arches", [])):
            continue
        kept.append({key: rule[key] for key in ("names", "action", "args", "errnoRet") if key in rule})
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": kept,
    }


def _memory(target: str) -> dict[str, Any]:
    options = ["nosuid", "nodev", "mode=1777", "size=1g"]
    return {"destination": target, "type": "tmpfs", "source": "tmpfs", "options": options}


def _bound(target: str, source: Path, *, read_only: bool) -> dict[str, Any]:
    options = ["rbind", "nosuid", "nodev", "ro" if read_only else "rw"]
    return {"destination": target, "type": "bind", "source": str(source), "options": options}
