"""`jobworker stream`: a job's output, from its beginning or a later place to its end, as it is written."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_service_pb2
from jobworker_cli.context import execute
from jobworker_cli.follow import Follower, stream_command
from jobworker_cli.options import JobRef
from jobworker_cli.output import say
from jobworker_cli.results import exit_code, tell_ending
from jobworker_cli.signals import abandon, caught_signals, signal_before_end
from jobworker_cli.sink import open_sink
from jobworker_cli.timestamps import Stamper
from jobworker_cli.units import parse_moment

if TYPE_CHECKING:
    from jobworker_cli.client import Client

__all__ = ["stream"]


def stream(  # noqa: PLR0913 - a parameter an option
    ctx: typer.Context,
    job: JobRef,
    *,
    offset: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Begin at this byte of the output, counted from 0.")
    ] = 0,
    tail: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**63 - 1,
            metavar="N",
            help="Begin N lines before the end of what is there; 0 shows new output only.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION|TIME",
            help="Begin at output of this age (5m, 1h30m, 90s) or time (RFC 3339: 2026-03-01T17:04:05Z).",
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Go on until the job ends, or end at what is there.")
    ] = True,
    stdout_only: Annotated[
        bool, typer.Option("--stdout-only", help="Show what the job wrote to its stdout.")
    ] = False,
    stderr_only: Annotated[
        bool, typer.Option("--stderr-only", help="Show what the job wrote to its stderr.")
    ] = False,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="Show before each line when the server read it, in UTC.")
    ] = False,
) -> None:
    """Stream real-time job logs by ID.

    The job's stdout goes to stdout and its stderr to stderr, byte by byte. Exits with the job's exit
    code. Ctrl-C ends the stream and leaves the job running.

    Of --offset, --tail and --since the one that begins latest counts.
    """
    request = job_service_pb2.GetJobsStreamRequest(
        offset=offset,
        follow=follow,
        tail_lines=tail,
        source=_source(stdout_only=stdout_only, stderr_only=stderr_only),
        since=_moment(since),
    )
    execute(ctx, lambda client: _stream(client, job, request, timestamps=timestamps), failure=125)


def _source(*, stdout_only: bool, stderr_only: bool) -> job_service_pb2.OutputSource.ValueType:
    if stdout_only and stderr_only:
        raise typer.BadParameter("give one of the two", param_hint="--stdout-only / --stderr-only")
    if stdout_only:
        return job_service_pb2.OUTPUT_SOURCE_STDOUT
    return job_service_pb2.OUTPUT_SOURCE_STDERR if stderr_only else job_service_pb2.OUTPUT_SOURCE_UNSPECIFIED


def _moment(text: str | None) -> Timestamp | None:
    if text is None:
        return None
    try:
        return parse_moment(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from None


async def _stream(
    client: "Client", ref: str, request: job_service_pb2.GetJobsStreamRequest, *, timestamps: bool
) -> int:
    request.id = await client.resolve(ref)
    with caught_signals() as pressed, open_sink() as sink:
        write = Stamper(sink.write).write if timestamps else sink.write
        work = asyncio.create_task(Follower(client=client, request=request, write=write).run())
        number = await signal_before_end(work, pressed)
        if number is not None:
            await abandon(work)
            shown = sink.cut()
            # Of a piece with times in it, not all that is shown is the job's: it counts as not shown.
            request.offset += 0 if timestamps else shown
            say(
                f"jobworker: the job goes on; `{stream_command(request)}` "
                f"takes up its output, `jobworker stop {request.id}` ends it"
            )
            return 128 + number
        job = work.result()
    tell_ending(job)
    return exit_code(job)
