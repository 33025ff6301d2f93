"""What a student trains on: its own features joined with the teachers' outputs, one row an utterance.

Stored as the artifact `transfer_sets/<fingerprint>/`: `shard-NNNNN.parquet` (zstd, in the corpus's order),
`token_table.safetensors` where there is a text teacher, and the record, whose `info` is the metadata that
`TransferSet.open` reads.
"""

from trainables.transfer_set.files import (
    HALF_MAX,
    LIST_MOST,
    NORMALISED,
    SCHEMA_VERSION,
    STREAM_TYPES,
    TOKEN_TABLE,
    StreamKind,
    flat,
    list_column,
    prefix,
    shard_name,
    step_shape,
    stream_column,
)
from trainables.transfer_set.mapped import Segments, Stream, TeacherOutputs, TransferSet, materialise

__all__ = [
    "HALF_MAX",
    "LIST_MOST",
    "NORMALISED",
    "SCHEMA_VERSION",
    "STREAM_TYPES",
    "TOKEN_TABLE",
    "Segments",
    "Stream",
    "StreamKind",
    "TeacherOutputs",
    "TransferSet",
    "flat",
    "list_column",
    "materialise",
    "prefix",
    "shard_name",
    "step_shape",
    "stream_column",
]
