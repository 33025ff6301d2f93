"""One line of `orch doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    subject: str
    level: Level
    told: str
    mend: str = ""
    """What to do about it; empty where nothing need be done."""


def hidden(url: str) -> str:
    """The URL without the password or token that it may carry."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=f"***@{parts.netloc.rsplit('@', 1)[1]}"))


def brief(error: BaseException) -> str:
    """The first line of an error, for a line of a table."""
    lines = str(error).strip().splitlines() or [""]
    return lines[0] if lines[0] else type(error).__name__
