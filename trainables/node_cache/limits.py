"""How much a node's cache may hold."""

from __future__ import annotations

import math
import os

from trainables.errors import UserError

LIMIT = "ORCH_CACHE_LIMIT"
"""The environment variable of each node: GB (10^9 bytes) that its cache may hold."""
DEFAULT_LIMIT = 100 * 10**9
_SMALL = 5 * 10**9
_KEPT_FREE = 0.05
"""Of the disk, where no limit is given."""


def limit_from_environment() -> float | None:
    """GB; None where it is not given."""
    given = os.environ.get(LIMIT, "").strip()
    if not given:
        return None
    try:
        limit = float(given)
    except ValueError:
        limit = math.nan
    if not 0 < limit < math.inf:
        raise UserError(f"{LIMIT} = {given!r}: not a size; give the GB that the cache may hold, such as 100")
    return limit


def limit_of(given: float | None, used: int, free: int, total: int) -> int:
    """Bytes that a cache may hold which now holds `used`, on a disk with `free` of `total` bytes left.

    `given` in GB. Without it: 100 GB, and never more than leaves 5 % of the disk free. Of a disk that others have
    filled beyond that, a small set still gets its place: 5 GB, or half of what is free.
    """
    if given is not None:
        return round(given * 10**9)
    return min(DEFAULT_LIMIT, used + max(int(free - _KEPT_FREE * total), min(free // 2, _SMALL)))
