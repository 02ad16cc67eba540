"""Messages with other output than those of the server."""

from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias

from jobworker.v1 import job_output_pb2
from jobworker_client import Chunk

__all__ = ["Source", "joined_message"]

Source: TypeAlias = "job_output_pb2.OutputSource.ValueType"


def joined_message(data_by_source: Iterable[tuple[Source, bytes]]) -> Chunk:
    """Return a message for a non-empty list of data of either source."""
    runs = [
        (source, b"".join(data for _, data in group))
        for source, group in groupby(data_by_source, itemgetter(0))
    ]
    lengths = [len(data) for _, data in runs]
    return Chunk(
        source=runs[0][0],
        payload=b"".join(data for _, data in runs),
        source_run_bytes=lengths if len(lengths) > 1 else (),
    )
