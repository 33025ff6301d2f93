"""What a node keeps on its own disk of what is stored elsewhere: see `cache`."""

from trainables.node_cache.cache import CacheLimitError, NodeCache, Recipe
from trainables.node_cache.limits import LIMIT, limit_from_environment
from trainables.node_cache.locks import CacheError, Lease, hold

__all__ = [
    "LIMIT",
    "CacheError",
    "CacheLimitError",
    "Lease",
    "NodeCache",
    "Recipe",
    "hold",
    "limit_from_environment",
]
