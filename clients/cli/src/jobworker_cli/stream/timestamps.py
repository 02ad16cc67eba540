"""Insert a timestamp before each line of output that is split anywhere."""

from google.protobuf.timestamp_pb2 import Timestamp

from jobworker_cli.render.times import to_datetime
from jobworker_cli.stream.follow import Write
from jobworker_cli.stream.messages import Source, joined_message
from jobworker_client import Chunk
from jobworker_client.chunks import Segment, segments

__all__ = ["TimestampWriter"]


class TimestampWriter:
    """Inserts the time of a segment before each line that begins in it, and passes the result to `write`.

    stdout and stderr have separate lines: a segment of one can interrupt a line of the other.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._within_line: set[Source] = set()

    async def write(self, message: Chunk) -> None:
        """Write the payload of a message with timestamps; its own bytes do not change."""
        await self._write(
            joined_message([(segment.source, self._add_timestamps(segment)) for segment in segments(message)])
        )

    def _add_timestamps(self, segment: Segment) -> bytes:
        data, within_line = segment.data, segment.source in self._within_line
        ends_line = data.endswith(b"\n")
        if within_line and ends_line:
            self._within_line.remove(segment.source)
        elif not within_line and not ends_line:
            self._within_line.add(segment.source)
        # After a final newline, the next line begins in the next segment and gets its time.
        inner_newlines = data.count(b"\n") - ends_line
        if within_line and not inner_newlines:
            return data
        timestamp = f"{_rfc_3339(segment.time)} ".encode()
        marked = data.replace(b"\n", b"\n" + timestamp, inner_newlines)
        return marked if within_line else timestamp + marked


def _rfc_3339(time: Timestamp) -> str:
    """Format the time in UTC with nine fractional digits, so that the lines are aligned."""
    return f"{to_datetime(time):%Y-%m-%dT%H:%M:%S}.{time.nanos:09d}Z"
