"""What a store can fail with: the user's mistakes, and a store that is away."""

from __future__ import annotations

from trainables.errors import MachineError, UserError


class StorageError(UserError):
    """A storage root or a key in it cannot be read or written."""


class StorageAway(MachineError):  # noqa: N818 - as one says it
    """The store answered nothing, or that it cannot now, until patience with it was over; later it may again."""
