"""How a Ray cluster is reached: what its address means, whether anybody is there, and which token is shown.

Ray takes half a minute to give up on an address or a token, and then does not say which of the two was wrong. So
both are tried first, in a second.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypeVar

from orchestrator.errors import SettingsError
from orchestrator.launch.error_lines import first_line, last_line

REACH_SECONDS = 10.0
CLIENT_PORT, GCS_PORT = 10001, 6379
MODE = "RAY_AUTH_MODE"
TOKEN_WAYS = "give RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token, with the token of that cluster"

T = TypeVar("T")
Kind = Literal["local", "auto", "client", "gcs", "dashboard"]


def kind_of(address: str | None) -> Kind:
    """What RAY_ADDRESS names: a head's own port, its client port, its dashboard, or nothing in particular."""
    if not address or address == "local":
        return "local"
    if address == "auto":
        return "auto"
    if address.startswith("ray://"):
        return "client"
    return "dashboard" if address.startswith(("http://", "https://")) else "gcs"


def reach(address: str) -> None:
    """Find out in seconds that nobody answers there, or not to this token. Raises SettingsError."""
    kind = kind_of(address)
    if kind == "dashboard":
        raise SettingsError(
            f"RAY_ADDRESS {address!r}: this is a dashboard, which takes jobs: send one with `orch submit`, or give "
            f"the cluster itself, as head:{GCS_PORT} or ray://head:{CLIENT_PORT}"
        )
    place = found(address) if kind == "auto" else address
    if kind == "client":
        _ask_client(address, _listening(address, address, CLIENT_PORT))
    elif kind != "local":
        _ask_head(address, _listening(address, place, GCS_PORT))


def found(address: str) -> str:
    """host:port of the cluster that runs on this machine. Raises SettingsError where none does."""
    from ray._private.services import canonicalize_bootstrap_address_or_die

    try:
        return str(canonicalize_bootstrap_address_or_die(address))
    except ConnectionError as error:
        raise SettingsError(
            f"RAY_ADDRESS {address!r}: no Ray runs on this machine; start it (ray start), or give head:{GCS_PORT}"
        ) from error


def connectable(address: str, port: int) -> str:
    """host:port of an address, `port` where it gives none. Raises OSError where nobody listens."""
    place = (address.partition("://")[2] or address).split("/", 1)[0]
    host, colon, digits = place.rpartition(":")
    if not (colon and digits.isdigit()):
        host, digits = place, str(port)
    socket.create_connection((host.strip("[]"), int(digits)), timeout=REACH_SECONDS).close()
    return f"{host}:{digits}"


def _listening(address: str, place: str, port: int) -> str:
    try:
        return connectable(place, port)
    except OSError as error:
        raise SettingsError(
            f"RAY_ADDRESS {address!r}: no cluster answers ({error.strerror or error}); start it, mend RAY_ADDRESS, "
            "or unset it for a local one"
        ) from error


def _ask_head(address: str, place: str) -> None:
    from ray.exceptions import AuthenticationError

    try:
        head_client(place)
    except AuthenticationError as error:
        raise refused(f"RAY_ADDRESS {address!r}") from error
    except Exception as error:  # Ray's own errors of its transport have no base in common
        raise SettingsError(f"RAY_ADDRESS {address!r}: no cluster answers ({first_line(error)})") from error


def head_client(place: str) -> Any:
    """Ray's own client of a head's store of names. Raises AuthenticationError where the token is not its."""
    from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    ensure_token_if_auth_enabled(create_token_if_missing=False)  # the client would end the process
    return GcsClient(address=place)


def check_member(address: str) -> None:
    """SettingsError where this machine is none of the cluster at host:port: Ray would end the process."""
    nodes = head_client(found(address)).get_all_node_info(timeout=REACH_SECONDS)
    if not any(is_mine(node.node_manager_address) for node in nodes.values()):
        raise SettingsError(
            f"RAY_ADDRESS {address!r}: by host:port a driver must run on a machine of the cluster, and this is "
            f"none; from elsewhere give ray://head:{CLIENT_PORT}, or send the sweep there with `orch submit`"
        )


def is_mine(address: str) -> bool:
    """Whether the address is one of this machine's: only then can it be listened at."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        return True
    return False


def _ask_client(address: str, place: str) -> None:
    import grpc
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated import ray_client_pb2, ray_client_pb2_grpc
    from ray.exceptions import AuthenticationError

    request = ray_client_pb2.ClusterInfoRequest(type=ray_client_pb2.ClusterInfoType.PING)
    try:
        channel = init_grpc_channel(place)
        stub = ray_client_pb2_grpc.RayletDriverStub(channel)
        stub.ClusterInfo(request, timeout=REACH_SECONDS, metadata=[("client_id", "orch")])
        channel.close()
    except AuthenticationError as error:
        raise refused(f"RAY_ADDRESS {address!r}") from error
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            raise refused(f"RAY_ADDRESS {address!r}") from error
        raise SettingsError(
            f"RAY_ADDRESS {address!r}: what answers there is no Ray client server ({error.code().name}); a head "
            f"listens for clients on port {CLIENT_PORT}, and for drivers on its own machine on {GCS_PORT}"
        ) from error


def as_client(connect: Callable[[], T]) -> T:
    """What it returns. A head that has much to do fails to start the server of a client in time, so it is tried
    again; raises SettingsError where that does not help."""
    for tries_left in (2, 1, 0):
        try:
            return connect()
        except ConnectionAbortedError as error:
            if not tries_left:
                raise SettingsError(
                    f"the head starts no server for this client ({last_line(error)}); its logs say why, or send "
                    "the sweep there with `orch submit`"
                ) from error
    raise AssertionError("unreachable")


def refused(where: str) -> SettingsError:
    """The cluster wants a token, and this is not it."""
    from ray._private.authentication.authentication_token_setup import AuthenticationTokenLoader

    if os.environ.get(MODE, "").lower() == "disabled":
        return SettingsError(f"{where}: the cluster wants a token, and {MODE}=disabled shows none; unset it")
    shown = AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True)
    told = "does not accept the token that it was shown" if shown else "wants a token, and there is none here"
    return SettingsError(f"{where}: the cluster {told}; {TOKEN_WAYS}")


def mismatch(error: BaseException) -> str:
    """Ray's own refusal of another version, in a sentence; empty where the error is another one."""
    text = str(error)
    rays, pythons = re.findall(r"Ray: (\S+)", text), re.findall(r"Python: (\S+)", text)
    if len(rays) < 2 or len(pythons) < 2 or "ersion mismatch" not in text:
        return ""
    return (
        f"the cluster runs Ray {rays[0]} on Python {pythons[0]}, "
        f"this process Ray {rays[1]} on Python {pythons[1]}; "
        "have the same on both, or send the sweep there with `orch submit`"
    )


@contextmanager
def authenticated() -> Iterator[None]:
    """Show the token that is there. Ray by itself shows none to an address as long as RAY_AUTH_MODE is not set."""
    from ray._private.authentication.authentication_token_setup import AuthenticationTokenLoader, Config

    loader, before = AuthenticationTokenLoader.instance(), os.environ.get(MODE)
    loader.reset_cache()  # Ray reads the token and the mode once a process
    if before is None and loader.has_token(ignore_auth_mode=True):
        os.environ[MODE] = "token"
    Config.initialize("")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(MODE, None)
        Config.initialize("")
        loader.reset_cache()
