"""`jobworker stream`: the part of the output that is asked for, shown until the job ends or Ctrl-C."""

import asyncio

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_service_pb2
from jobworker_cli.output import say
from jobworker_cli.render.times import parse_moment
from jobworker_cli.results import exit_code, tell_ending
from jobworker_cli.settings.connect import resolve
from jobworker_cli.stream.follow import follow, open_stream, stream_command
from jobworker_cli.stream.signals import abandon, caught_signals, signal_before_end
from jobworker_cli.stream.sink import open_sink
from jobworker_cli.stream.timestamps import Stamper
from jobworker_client import Client

__all__ = ["moment", "show_output", "source"]


def source(*, stdout_only: bool, stderr_only: bool) -> job_service_pb2.OutputSource.ValueType:
    """Returns the stream that the two options ask for; unspecified is both."""
    if stdout_only and stderr_only:
        raise typer.BadParameter("give one of the two", param_hint="--stdout-only / --stderr-only")
    if stdout_only:
        return job_service_pb2.OUTPUT_SOURCE_STDOUT
    return job_service_pb2.OUTPUT_SOURCE_STDERR if stderr_only else job_service_pb2.OUTPUT_SOURCE_UNSPECIFIED


def moment(text: str | None) -> Timestamp | None:
    """Returns what `--since` asks for."""
    if text is None:
        return None
    try:
        return parse_moment(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from None


async def show_output(
    client: Client,
    ref: str,
    request: job_service_pb2.GetJobsStreamRequest,
    *,
    timestamps: bool,
    preserve_status: bool,
) -> int:
    """Shows what the request asks for and returns the job's exit code."""
    request.id = await resolve(client, ref)
    stream = open_stream(client, request)
    with caught_signals() as pressed, open_sink() as sink:
        write = Stamper(sink.write).write if timestamps else sink.write
        work = asyncio.create_task(follow(stream, write))
        number = await signal_before_end(work, pressed)
        if number is not None:
            await abandon(work)
            shown = sink.cut()
            # Of a piece with times in it, not all that is shown is the job's: it counts as not shown.
            rest = stream.request
            rest.offset += 0 if timestamps else shown
            say(
                f"jobworker: the job goes on; `{stream_command(rest)}` "
                f"takes up its output, `jobworker stop {request.id}` ends it"
            )
            return 128 + number
        job = work.result()
    tell_ending(job)
    return exit_code(job, preserve_status=preserve_status)
