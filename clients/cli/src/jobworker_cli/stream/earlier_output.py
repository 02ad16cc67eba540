"""The state of a terminal that the earlier output of a job has set."""

from dataclasses import dataclass, field

from jobworker.v1 import job_service_pb2
from jobworker_cli.render.error_messages import to_cli_error
from jobworker_cli.stream.screen_modes import ScreenModes
from jobworker_client import Client, JobWorkerError

__all__ = ["EarlierOutput", "read_earlier_output"]

_TAIL_BYTES = 1 << 20
"""Older output is not searched for modes."""


@dataclass
class EarlierOutput:
    """The end of the output when the terminal was attached, and the modes that the output has set."""

    end: int = 0
    modes: ScreenModes = field(default_factory=ScreenModes)


async def read_earlier_output(client: Client, job_id: str, shown_from: int | None) -> EarlierOutput:
    """Read the end of the output; the modes are those before the byte `shown_from`.

    Raises:
        CliError: the server refused the request or stayed unavailable.
    """
    earlier = EarlierOutput()
    request = job_service_pb2.GetJobsStreamRequest(id=job_id, tail_bytes=_TAIL_BYTES, follow=False)
    try:
        async with client.stream_from(request) as stream:
            async for chunk in stream:
                unshown = len(chunk.payload) if shown_from is None else max(0, shown_from - chunk.offset)
                earlier.modes.feed(chunk.payload[:unshown])
            earlier.end = stream.request.offset
    except JobWorkerError as error:
        raise to_cli_error(error) from error
    return earlier
