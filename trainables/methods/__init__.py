"""The one registry of methods: type in the spec -> what builds it from (run, data, train rows)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from trainables.method import Method
from trainables.methods.cmd import CMDMethod
from trainables.methods.supervised import SupervisedMethod
from trainables.spec.run import RunSpec
from trainables.transfer_set import TransferSet

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Builder(Protocol):
    def __call__(self, run: RunSpec, data: TransferSet, rows: NDArray[np.int64]) -> Method:
        """`rows`: the train rows. Draws its heads' weights from torch's random state."""


METHODS: dict[str, Builder] = {
    "supervised": SupervisedMethod,
    "cmd": CMDMethod,
}
