"""The files of a stored transfer set: their names, and how a shard's columns hold rows of any shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

SCHEMA_VERSION = 3
TOKEN_TABLE = "token_table.safetensors"
META = "meta.json"
"""What `TransferSet.open` reads first, in the folder of a decoded set."""
STRINGS = ("uid", "split", "dialogue", "speaker")
NUMBERS = (("label", "int64"), ("text_hash", "int64"), ("seconds", "float32"))
LIST_MOST = int(np.iinfo(np.int32).max)
"""Values that a column of Arrow lists numbers in int32: those of 131 071 pictures of 128 by 128."""
PRESENCE = "has_{}"
"""The column that says where a modality is there; a modality without it is there in every row."""

StreamKind = Literal["log_mel", "tokens", "images", "vectors"]
STREAM_TYPES: dict[StreamKind, str] = {
    "log_mel": "float16",
    "tokens": "int32",
    "images": "uint8",
    "vectors": "float16",
}
HALF_MAX = 65504.0
"""The largest number of float16."""
NORMALISED: tuple[StreamKind, ...] = ("log_mel", "vectors")
"""What is stored as it is and normalised, when a node decodes it, with the train split's mean and deviation."""


def prefix(fingerprint: str) -> str:
    return f"transfer_sets/{fingerprint}"


def shard_name(index: int) -> str:
    return f"shard-{index:05d}.parquet"


def step_shape(kind: StreamKind, width: int) -> tuple[int, ...]:
    """Of one step of a stream: a number of a piece, a square picture, or a vector."""
    return {"tokens": (), "images": (width, width), "log_mel": (width,), "vectors": (width,)}[kind]


def stream_column(modality: str) -> str:
    """Its name in the shards."""
    return f"{modality}.stream"


def flat(table: pa.Table, name: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """A list column as its values end to end and the length of each row."""
    column = table.column(name).combine_chunks()
    lengths = np.diff(column.offsets.to_numpy()).astype(np.int64)
    return column.flatten().to_numpy(zero_copy_only=False), lengths


def list_column(values: Sequence[NDArray[Any]], dtype: Any) -> pa.Array:
    """Rows of any shape as a list column of their values, a large one where an int32 cannot number them."""
    import pyarrow as pa

    offsets = np.cumsum([0, *(v.size for v in values)], dtype=np.int64)
    joined = pa.array(np.concatenate([np.asarray(v, dtype=dtype).ravel() for v in values]))
    if offsets[-1] > LIST_MOST:
        return pa.LargeListArray.from_arrays(pa.array(offsets), joined)
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), joined)
