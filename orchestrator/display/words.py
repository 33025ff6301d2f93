"""Short forms: times, scores and parameters as a narrow table shows them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_GENERAL = ("start", "type", "shape", "end")
"""Last parts of a path that say little without the part before them."""


def clock(seconds: float) -> str:
    """`0:42`, `12:05`, `3:02:11`."""
    whole = max(round(seconds), 0)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counted(count: int, name: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def roughly(seconds: float) -> str:
    """`40 s`, `7 min`, `3 h 20 min`: as precise as an estimate may pretend to be."""
    if seconds < 90:
        return f"{max(math.ceil(seconds / 10) * 10, 10)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def number(value: Any) -> str:
    """Three significant digits of a float, other values as they are."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e+")


def count(value: int) -> str:
    """`812`, `34.1 k`, `1.27 M`."""
    for unit, name in ((1_000_000, " M"), (1_000, " k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return str(value)


def score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """A distinct short name per dotted path: initials of several words, the first four letters of one."""
    for letters in (1, 3, 5, 99):
        names = {path: _short(path, letters) for path in paths}
        if len(set(names.values())) == len(names):
            return names
    return {path: path for path in paths}


def _short(path: str, letters: int) -> str:
    parts = path.split(".")
    if parts[-1] in _GENERAL and len(parts) > 1:
        tail = "" if parts[-1] in ("start", "type") else f".{parts[-1][:4]}"
        return _short_word(parts[-2], letters) + tail
    return _short_word(parts[-1], letters)


def _short_word(word: str, letters: int) -> str:
    words = word.split("_")
    if len(words) == 1:
        return word[: max(letters, 4)]
    return "".join(part[:letters] for part in words)


def params(values: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """`lr=0.0012 temp=2.1`, in the order given."""
    return " ".join(f"{names.get(path, path)}={number(value)}" for path, value in values.items())


def ceilings(found: Mapping[str, float], metric: str = "weighted_f1") -> str:
    """The best that the stand-in's rules allow, by the modalities that are read."""
    told = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
    return f"Bayes ceilings ({metric}): {told}"
