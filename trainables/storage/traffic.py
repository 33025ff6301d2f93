"""What this process asks of object stores, told as each request ends to whoever listens."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Literal, NamedTuple

Outcome = Literal["done", "again", "failed"]
"""`again`: it failed in passing, to be repeated as long as patience holds. An absent object is `done`."""


class Request(NamedTuple):
    operation: str
    """As botocore names it: `get_object`."""
    outcome: Outcome
    sent: int = 0
    """Bytes of objects, without headers; `received` likewise."""
    received: int = 0


Listener = Callable[[Request], None]
_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """Called from other threads, too, once however often it is given; what it raises is dropped."""
    if listener not in _listeners:
        _listeners.append(listener)


def forget(listener: Listener) -> None:
    with suppress(ValueError):
        _listeners.remove(listener)


def ended(request: Request) -> None:
    for listener in tuple(_listeners):
        with suppress(Exception):
            listener(request)
