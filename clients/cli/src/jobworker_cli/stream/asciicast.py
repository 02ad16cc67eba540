"""Convert the output of a job to a recording that terminal players can show.

The format is asciicast v3 (https://docs.asciinema.org/manual/asciicast/v3/): a header, and one line of JSON
per event with the time since the previous event.
"""

import codecs
import json
import shlex
from collections.abc import Iterator
from typing import TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_output_pb2, job_pb2
from jobworker_cli.stream.follow import Write
from jobworker_client import Chunk
from jobworker_client.chunks import Segment, segments

__all__ = ["AsciicastWriter"]

# The terminal of a job that has none, and the defaults of the server.
COLUMNS, ROWS, TERM = 80, 24, "xterm-256color"

Event: TypeAlias = tuple[float, str, str]


class AsciicastWriter:
    """Converts output to lines of a recording, and passes them to `write`."""

    def __init__(self, job: job_pb2.Job, write: Write) -> None:
        self.job = job
        """The current record of the job, which has the sizes of its terminal."""
        self._write = write
        self._offset = 0
        # The recording of a job in the queue begins with its wait.
        self._begin = job.start_time if job.HasField("start_time") else job.create_time
        self._time = _milliseconds(self._begin)
        # A character can be split over messages, and output of the other source can be between its parts.
        new_decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {
            source: new_decoder(errors="replace")
            for source in (job_output_pb2.OUTPUT_SOURCE_STDOUT, job_output_pb2.OUTPUT_SOURCE_STDERR)
        }

    async def begin(self) -> None:
        """Write the header."""
        terminal = self.job.terminal
        header = {
            "version": 3,
            "term": {
                "cols": terminal.columns or COLUMNS,
                "rows": terminal.rows or ROWS,
                "type": terminal.term or TERM,
            },
            "timestamp": self._begin.seconds,
            "command": shlex.join([self.job.command, *self.job.args]),
            "title": f"job {self.job.id}",
        }
        await self._write_lines(header)

    async def write(self, message: Chunk) -> None:
        """Write an event for each segment of a message."""
        await self._write_lines(*[event for segment in segments(message) for event in self._events(segment)])

    async def end(self, job: job_pb2.Job) -> None:
        """Write the rest of an incomplete character, and the exit status of a final job if it is known."""
        rest = [decoder.decode(b"", final=True) for decoder in self._decoders.values()]
        events = [self._event(job.end_time, "o", text) for text in rest if text]
        if job.HasField("exit_code") or job.termination.signal:
            status = 128 + job.termination.signal if job.termination.signal else job.exit_code
            events.append(self._event(job.end_time, "x", str(status)))
        await self._write_lines(*events)

    def _events(self, segment: Segment) -> Iterator[Event]:
        """Yield the output of a segment, and the sizes of the terminal at their places in it."""
        begin, end = segment.offset, segment.offset + len(segment.data)
        done = begin
        for resize in self.job.terminal_resizes:
            if self._offset <= resize.log_offset < end:
                place = max(resize.log_offset, begin)
                yield from self._output(segment, done, place)
                yield self._event(segment.time, "r", f"{resize.columns}x{resize.rows}")
                done = place
        yield from self._output(segment, done, end)
        self._offset = end

    def _output(self, segment: Segment, begin: int, end: int) -> Iterator[Event]:
        data = segment.data[begin - segment.offset : end - segment.offset]
        if text := self._decoders[segment.source].decode(data):
            yield self._event(segment.time, "o", self._shown(text))

    def _shown(self, text: str) -> str:
        """Return the text with the carriage returns that a terminal adds (ONLCR in termios(3))."""
        return text if self.job.HasField("terminal") else text.replace("\n", "\r\n")

    def _event(self, time: Timestamp, code: str, data: str) -> Event:
        """Return an event. The times are rounded and not the intervals, so that the error does not add up."""
        milliseconds = max(_milliseconds(time), self._time)
        interval, self._time = milliseconds - self._time, milliseconds
        return interval / 1_000, code, data

    async def _write_lines(self, *values: object) -> None:
        lines = "".join(f"{json.dumps(value)}\n" for value in values).encode()
        if lines:
            await self._write(Chunk(payload=lines, source=job_output_pb2.OUTPUT_SOURCE_STDOUT))


def _milliseconds(time: Timestamp) -> int:
    return round(time.ToNanoseconds() / 1_000_000)
