"""A job's output from where it was asked for to its end, over as many connections as it takes.

The log is addressed by bytes, so a stream that breaks is taken up where it broke: what is handed on has
no gap and no byte twice, and each message's offset is checked against what it must be.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cli.errors import CliError
from jobworker_cli.output import say

if TYPE_CHECKING:
    from jobworker_cli.client import Client

__all__ = ["Follower", "Write", "stream_command"]

Write = Callable[[job_service_pb2.GetJobsStreamResponse], Awaitable[None]]

# How long, in seconds, a server may be away: at the start, where it most likely is not there at all, and
# once it has been there, where somebody is restarting it.
CONNECT_WITHIN = 2.0
RESUME_WITHIN = 30.0

# A stream that lived that long was a good one, even if the job was silent. In seconds.
GOOD_AFTER = 10.0

PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)


@dataclass(kw_only=True)
class Follower:
    """One reader of one job's output.

    `request` is what it asks for next, and changes as output comes: its offset is where the reader
    stands, with all bytes before it handed to `write`, and none after it. The place of a tail or a time
    is for the server to find, and known from the first message on.
    """

    client: "Client"
    request: job_service_pb2.GetJobsStreamRequest
    write: Write
    _progress: bool = False
    _told_of_stall: bool = False

    async def run(self) -> job_pb2.Job:
        """Hands on all output and returns the job as the stream's last message has it.

        Raises:
            CliError: the server refused, or was away for too long.
            OSError: `write` failed.
        """
        loop = asyncio.get_running_loop()
        give_up, attempt = loop.time() + CONNECT_WITHIN, 0
        while True:
            self._progress, began = False, loop.time()
            try:
                return await self._read()
            except CliError as error:
                now = loop.time()
                if self._progress or _was_good(error, lived=now - began):
                    give_up, attempt = now + RESUME_WITHIN, 0
                if not error.retryable or not await self._regain(error, give_up, attempt):
                    self._say_how_to_resume(error)
                    raise
            attempt += 1

    async def _read(self) -> job_pb2.Job:
        # A copy: what is asked for next changes with each message, what was asked for does not.
        asked = job_service_pb2.GetJobsStreamRequest()
        asked.CopyFrom(self.request)
        async with contextlib.aclosing(self.client.stream(asked)) as messages:
            async for message in messages:
                self._progress = True
                if message.HasField("result"):
                    return message.result
                self._stand_at(message.offset)
                if message.HasField("truncated"):
                    self._skip(message.truncated)
                elif message.payload:
                    await self._hand_on(message)
        raise CliError("the stream ended without the job's result", retryable=True)

    def _stand_at(self, offset: int) -> None:
        due = self.request.offset
        may_be_later = self.request.source or not _is_found(self.request)
        if offset != due and not (offset > due and may_be_later):
            raise CliError(
                f"the server sent byte {offset} of the output where byte {due} was due",
                reason="WRONG_OFFSET",
            )
        self.request.offset = offset
        self.request.ClearField("tail_lines")
        self.request.ClearField("since")

    async def _hand_on(self, message: job_service_pb2.GetJobsStreamResponse) -> None:
        await self.write(message)
        self.request.offset += len(message.payload)

    def _skip(self, missing: job_service_pb2.TruncatedRange) -> None:
        count = missing.to_offset - missing.from_offset
        say(f"jobworker: {count} bytes of output from byte {missing.from_offset} on: {missing.reason}")
        self.request.offset = missing.to_offset

    async def _regain(self, error: CliError, give_up: float, attempt: int) -> bool:
        """Returns True once there is a connection again, False when it is too late for one."""
        loop = asyncio.get_running_loop()
        if loop.time() >= give_up:
            return False
        self._tell(error)
        await asyncio.sleep(min(PAUSES[min(attempt, len(PAUSES) - 1)], give_up - loop.time()))
        return await self.client.reconnected(within=max(0.0, give_up - loop.time()))

    def _tell(self, error: CliError) -> None:
        if error.reason != "READER_STALLED":
            known = _is_found(self.request) and not self.request.result_only
            then = f"going on from byte {self.request.offset}" if known else "trying again"
            say(f"jobworker: {error}; {then}")
        elif not self._told_of_stall:
            # Under a pager that waits for its user it is so every few seconds: once is enough.
            self._told_of_stall = True
            say("jobworker: the reader of this output is slow; the stream is resumed whenever it is ready")

    def _say_how_to_resume(self, error: CliError) -> None:
        if error.retryable and self.request.offset and not self.request.result_only:
            error.hint = f"`{stream_command(self.request)}` goes on from there"


def stream_command(request: job_service_pb2.GetJobsStreamRequest) -> str:
    """Returns the command line that shows the output that the request asks for."""
    words = ["jobworker", "stream"]
    if request.offset:
        words += ["--offset", str(request.offset)]
    if request.HasField("tail_lines"):
        words += ["--tail", str(request.tail_lines)]
    if request.HasField("since"):
        words += ["--since", request.since.ToJsonString()]
    if request.source == job_service_pb2.OUTPUT_SOURCE_STDOUT:
        words.append("--stdout-only")
    if request.source == job_service_pb2.OUTPUT_SOURCE_STDERR:
        words.append("--stderr-only")
    return " ".join([*words, request.id])


def _is_found(request: job_service_pb2.GetJobsStreamRequest) -> bool:
    """Tells whether the request's offset is its place, rather than the earliest that it may be."""
    return not (request.HasField("tail_lines") or request.HasField("since"))


def _was_good(error: CliError, *, lived: float) -> bool:
    """Tells whether a stream without a message was one of a silent job rather than a failed attempt."""
    return lived > GOOD_AFTER and error.reason != "UNREACHABLE"
