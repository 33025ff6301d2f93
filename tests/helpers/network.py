"""Who reaches whom under NetworkPolicies: as much of their meaning as ours use, and an error for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

NAMESPACE_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class End:
    """A pod, or an address outside the cluster."""

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


def reaches(policies: Sequence[Mapping[str, Any]], source: End, target: End, port: int, protocol: str) -> bool:
    """Both must allow it: what leaves the source, and what enters the target."""
    leaves = _allows(_bound(policies, source, "Egress"), _Asked(target, port, protocol, "egress", "to"))
    enters = _Asked(source, port, protocol, "ingress", "from")
    return leaves and _allows(_bound(policies, target, "Ingress"), enters)


@dataclass(frozen=True)
class _Asked:
    """Whether rules of one direction let this through."""

    other: End
    port: int
    protocol: str
    rules: str
    peers: str


def _allows(bound: Sequence[Mapping[str, Any]], asked: _Asked) -> bool:
    """Whoever no policy binds is open; whoever one binds needs one that says so."""
    return not bound or any(
        _port(rule.get("ports"), asked.port, asked.protocol)
        and _peer(rule.get(asked.peers), asked.other, one["metadata"]["namespace"])
        for one in bound
        for rule in one["spec"].get(asked.rules) or []
    )


def _bound(policies: Sequence[Mapping[str, Any]], end: End, kind: str) -> list[Mapping[str, Any]]:
    return [one for one in policies if kind in one["spec"]["policyTypes"] and _selects(one, end)]


def _selects(policy: Mapping[str, Any], end: End) -> bool:
    here = policy["metadata"]["namespace"] == end.namespace
    return here and matches(policy["spec"]["podSelector"], end.labels)


def _port(ports: Iterable[Mapping[str, Any]] | None, port: int, protocol: str) -> bool:
    return ports is None or any(
        one.get("protocol", "TCP") == protocol and _number(one["port"]) == port for one in ports
    )


def _number(port: Any) -> int:
    if not isinstance(port, int):
        raise TypeError(f"port {port!r}: a name means another number in each pod; write the number")
    return port


def _peer(peers: Iterable[Mapping[str, Any]] | None, end: End, namespace: str) -> bool:
    return peers is None or any(_one(peer, end, namespace) for peer in peers)


def _one(peer: Mapping[str, Any], end: End, namespace: str) -> bool:
    if "ipBlock" in peer:
        return bool(end.address) and _within(peer["ipBlock"], end.address)
    if end.address:
        return False
    place = peer.get("namespaceSelector")
    right = end.namespace == namespace if place is None else matches(place, {NAMESPACE_LABEL: end.namespace})
    return right and matches(peer.get("podSelector") or {}, end.labels)


def _within(block: Mapping[str, Any], address: str) -> bool:
    given = ip_address(address)
    return given in ip_network(block["cidr"]) and not any(
        given in ip_network(without) for without in block.get("except") or []
    )


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """A label selector, or the expressions of a node selector's term."""
    equal = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return equal and all(_expression(one, labels) for one in selector.get("matchExpressions") or [])


def _expression(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or []
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case other:
            raise ValueError(f"operator {other!r}: teach it to the evaluator first")
