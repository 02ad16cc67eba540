"""The time before each line, for output that comes in pieces cut anywhere."""

from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_service_pb2
from jobworker_cli.follow import Write
from jobworker_cli.times import to_datetime

__all__ = ["Stamper"]


class Stamper:
    """Puts the time of a piece before each line that begins in it, and hands it on to `write`.

    stdout and stderr have lines of their own: a piece of one may come between two of the other's line.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._within_line: set[job_service_pb2.OutputSource.ValueType] = set()

    async def write(self, message: job_service_pb2.GetJobsStreamResponse) -> None:
        """Writes the message's payload with the times; its other bytes are as they were."""
        stamp = f"{_rfc_3339(message.time)} ".encode()
        payload = message.payload
        ends_line = payload.endswith(b"\n")
        # The line after a last line end begins with the next piece, and has that one's time.
        stamped = payload.replace(b"\n", b"\n" + stamp, payload.count(b"\n") - ends_line)
        if message.source not in self._within_line:
            stamped = stamp + stamped
        if ends_line:
            self._within_line.discard(message.source)
        else:
            self._within_line.add(message.source)
        await self._write(job_service_pb2.GetJobsStreamResponse(source=message.source, payload=stamped))


def _rfc_3339(time: Timestamp) -> str:
    """Returns the moment in UTC, always with nine digits of a second, so that lines stand in a column."""
    return f"{to_datetime(time):%Y-%m-%dT%H:%M:%S}.{time.nanos:09d}Z"
