"""One array of an HDF5 file, which must lie in that file: the format can also name others, by links, as external
storage or as a virtual dataset, and a corpus from elsewhere could so have any file of this machine read.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_dataset(dataset: Any, filename: str) -> NDArray[Any]:
    """The whole of an h5py dataset of the open file of that name. ValueError where it is not to be read."""
    if dataset.file.filename != filename or dataset.external or dataset.is_virtual:
        raise ValueError("its numbers lie in another file; copy them into this one")
    check_size(dataset.nbytes)
    return np.asarray(dataset[()])


def check_size(count: int) -> None:
    """ValueError where so many bytes are more than this machine's memory: kilobytes can unpack to terabytes."""
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if count > most:
        raise ValueError(f"it unpacks to {count / 1e9:.0f} GB, and this machine has {most / 1e9:.0f} GB of memory")
