"""`jobworker stream`: a job's output, from its beginning or a later place to its end, as it is written."""

import functools
from typing import Annotated

import typer

from jobworker_cli.settings.call import execute
from jobworker_cli.settings.options import JobRef, PreserveStatus

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
    preserve_status: PreserveStatus = False,
) -> None:
    """Stream real-time job logs by ID.

    The job's stdout goes to stdout and its stderr to stderr, byte by byte. Exits with the job's exit
    code. Ctrl-C ends the stream and leaves the job running.

    Of --offset, --tail and --since the one that begins latest counts.
    """
    from jobworker.v1 import job_service_pb2
    from jobworker_cli.actions.stream import moment, show_output, source

    request = job_service_pb2.GetJobsStreamRequest(
        offset=offset,
        follow=follow,
        tail_lines=tail,
        source=source(stdout_only=stdout_only, stderr_only=stderr_only),
        since=moment(since),
    )
    show = functools.partial(show_output, timestamps=timestamps, preserve_status=preserve_status)
    execute(ctx, lambda client: show(client, job, request), failure=125)
