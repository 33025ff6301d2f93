"""Machines of their own as far as a process can tell: network, host name, process ids, /tmp, /dev/shm are private.

Each is held by one process that is init in its process namespace: when that ends, so does everything in it, and the
kernel takes its network and its file systems away. The bridge that joins them stands in our own network namespace,
which is therefore at `gateway` for all of them; there is no way out of it. The rest of the file system is shared.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.services.process import KEEPER, Service

OWN = ["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
READY = "the machine is up"
REPOSITORY = Path(__file__).parents[3]
# Names resolve by /etc/hosts alone: a name server out of reach would be waited for.
SET_UP = f"""set -e
mount -t tmpfs tmpfs /tmp && chmod 1777 /tmp
mount -t tmpfs tmpfs /dev/shm && chmod 1777 /dev/shm
hostname "$0"
printf '127.0.0.1 localhost\\n%s\\n' "$1" > /tmp/.hosts && mount --bind /tmp/.hosts /etc/hosts
: > /tmp/.resolv && if [ -e /etc/resolv.conf ]; then mount --bind /tmp/.resolv "$(readlink -f /etc/resolv.conf)"; fi
ip link set lo up
shift
echo {READY}
exec "$@" - sleep infinity
"""


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def why_not() -> str | None:
    """A sentence where this machine does not allow namespaces."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need root on Linux"
    probe = "ip link add orch-probe type bridge && ip link del orch-probe && mount -t tmpfs tmpfs /tmp"
    try:
        done = subprocess.run(["unshare", *OWN, "sh", "-c", probe], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return f"network namespaces need util-linux: {error}"
    if done.returncode:
        return f"no network namespaces (they need CAP_NET_ADMIN, CAP_SYS_ADMIN, iproute2): {done.stderr.strip()}"
    return None


@dataclass
class Machine:
    name: str
    address: str
    holder: Service
    cable: str
    """The host's end of its network."""

    @property
    def init(self) -> int:
        """The process id, as we see it, of init in there."""
        keeper = self.holder.pid
        (unshare,) = children(keeper)
        (init,) = children(unshare)
        return init


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Namespaces:
    """Machines by index; `gateway` is where servers of the test listen so that they are reached from each."""

    def __init__(self, folder: Path, gateway: str, machines: list[Machine]) -> None:
        self.folder = folder
        self.gateway = gateway
        self.machines = machines
        self._started = 0

    @property
    def addresses(self) -> list[str]:
        return [machine.address for machine in self.machines]

    def command(self, index: int, command: Sequence[str]) -> list[str]:
        """The command as it is to be started here in order to run there, at the root of the repository."""
        enter = [
            "nsenter",
            "--target",
            str(self.machines[index].init),
            "--net",
            "--mount",
            "--uts",
            "--ipc",
            "--pid",
        ]
        return [*enter, "env", "-C", str(REPOSITORY), *command]

    def popen(self, index: int, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Service:
        """Started; what it prints is in `.output()`. Ends with the machine, or when it is stopped."""
        self._started += 1
        log = self.folder / f"{self.machines[index].name}-{self._started}.log"
        service = Service(self.command(index, command), log, None, environment)
        service.start()
        return service

    def inside(self, index: int, path: str) -> Path:
        """Where an absolute path of the machine's is to be found from here while it runs; follows one link."""
        root = Path(f"/proc/{self.machines[index].init}/root")
        found = root / path.lstrip("/")
        return root / str(found.readlink()).lstrip("/") if found.is_symlink() else found

    def kill(self, index: int) -> None:
        """The machine is gone, with all that ran on it and its /tmp."""
        self.machines[index].holder.kill()

    def unplug(self, index: int) -> None:
        """Nothing reaches it and it reaches nothing, though all goes on running there."""
        ip("link", "set", self.machines[index].cable, "down")

    def plug(self, index: int) -> None:
        ip("link", "set", self.machines[index].cable, "up")


def remove_orphans() -> None:
    """Bridges of test processes that were killed."""
    for name, pid in re.findall(r"^\d+: (orch(\d+)b): ", ip("link", "show", "type", "bridge"), re.MULTILINE):
        if not Path(f"/proc/{pid}").exists():
            ip("link", "del", name)


@contextmanager
def bridge(name: str) -> Iterator[str]:
    """Yields the first three numbers of a network of 254 addresses in which nothing here is yet."""
    taken = ip("-4", "addr", "show") + ip("-4", "route", "show")
    prefix = next(
        prefix for number in range(256) if f"{(prefix := f'10.213.{(os.getpid() + number) % 256}')}." not in taken
    )
    ip("link", "add", name, "type", "bridge")
    try:
        ip("addr", "add", f"{prefix}.254/24", "dev", name)
        ip("link", "set", name, "up")
        yield prefix
    finally:
        ip("link", "del", name)


def plug_in(machine: Machine, onto: str) -> None:
    ip("link", "add", machine.cable, "type", "veth", "peer", "name", "eth0", "netns", str(machine.init))
    ip("link", "set", machine.cable, "master", onto, "up")
    inside = ["nsenter", "--target", str(machine.init), "--net", "ip"]
    for words in (f"addr add {machine.address}/24 dev eth0", "link set eth0 up"):
        subprocess.run([*inside, *words.split()], check=True)


@contextmanager
def namespaces(folder: Path, count: int) -> Iterator[Namespaces]:
    if reason := why_not():
        pytest.skip(reason)
    remove_orphans()
    name = f"orch{os.getpid()}b"
    with ExitStack() as stack:
        prefix = stack.enter_context(bridge(name))
        names = {f"node-{index}": f"{prefix}.{index + 1}" for index in range(count)}
        hosts = "\n".join(f"{address} {host}" for host, address in names.items())
        machines = []
        for index, (host, address) in enumerate(names.items()):
            log = folder / f"{host}.log"
            command = ["unshare", *OWN, "sh", "-c", SET_UP, host, hosts, *KEEPER]
            holder = Service(command, log, lambda log=log: READY in log.read_text())  # type: ignore[misc]
            machine = Machine(host, address, stack.enter_context(holder), f"orch{os.getpid()}v{index}")
            plug_in(machine, name)
            machines.append(machine)
        yield Namespaces(folder, f"{prefix}.254", machines)
