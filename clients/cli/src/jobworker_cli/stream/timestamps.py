"""The time before each line, for output that comes in pieces cut anywhere."""

from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_service_pb2
from jobworker_cli.render.times import to_datetime
from jobworker_cli.stream.follow import Write
from jobworker_client import Chunk
from jobworker_client.chunks import Segment, segments

__all__ = ["Stamper"]

Source: TypeAlias = "job_service_pb2.OutputSource.ValueType"


class Stamper:
    """Puts the time of a piece before each line that begins in it, and hands it on to `write`.

    stdout and stderr have lines of their own: a piece of one may come between two of the other's line.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._within_line: set[Source] = set()

    async def write(self, message: Chunk) -> None:
        """Writes the message's payload with the times; its other bytes are as they were."""
        await self._write(_message([(part.source, self._stamped(part)) for part in segments(message)]))

    def _stamped(self, part: Segment) -> bytes:
        data, within_line = part.data, part.source in self._within_line
        ends_line = data.endswith(b"\n")
        if within_line and ends_line:
            self._within_line.remove(part.source)
        elif not within_line and not ends_line:
            self._within_line.add(part.source)
        # The line after a last line end begins with the next part, and has that one's time.
        inner_ends = data.count(b"\n") - ends_line
        if within_line and not inner_ends:
            return data
        stamp = f"{_rfc_3339(part.time)} ".encode()
        stamped = data.replace(b"\n", b"\n" + stamp, inner_ends)
        return stamped if within_line else stamp + stamped


def _message(parts: Iterable[tuple[Source, bytes]]) -> Chunk:
    """Returns a message of parts, not empty, of either source."""
    joined = [
        (source, b"".join(data for _, data in group)) for source, group in groupby(parts, itemgetter(0))
    ]
    lengths = [len(data) for _, data in joined]
    return Chunk(
        source=joined[0][0],
        payload=b"".join(data for _, data in joined),
        source_run_bytes=lengths if len(lengths) > 1 else (),
    )


def _rfc_3339(time: Timestamp) -> str:
    """Returns the moment in UTC, always with nine digits of a second, so that lines stand in a column."""
    return f"{to_datetime(time):%Y-%m-%dT%H:%M:%S}.{time.nanos:09d}Z"
