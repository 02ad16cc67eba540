"""`jobworker stream`: stream the output of a job, from its start or a later position."""

import functools
from typing import Annotated

import typer

from jobworker_cli.settings.invocation import execute
from jobworker_cli.settings.options import JobRef, PreserveStatus
from jobworker_cli.settings.stream_options import Tail

__all__ = ["stream"]


def stream(  # noqa: PLR0913 - one parameter per option
    ctx: typer.Context,
    job: JobRef,
    *,
    offset: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="First byte of the output, counted from 0.")
    ] = 0,
    tail: Tail = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION|TIME",
            help="Age (5m, 1h30m, 90s) or time (RFC 3339: 2026-03-01T17:04:05Z) of the first output.",
        ),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow/--no-follow", help="Continue until the job ends, or end at the current end."),
    ] = True,
    stdout_only: Annotated[
        bool, typer.Option("--stdout-only", help="Show only the stdout of the job.")
    ] = False,
    stderr_only: Annotated[
        bool, typer.Option("--stderr-only", help="Show only the stderr of the job.")
    ] = False,
    timestamps: Annotated[
        bool,
        typer.Option("--timestamps", help="Print the time when the server read it before each line, in UTC."),
    ] = False,
    preserve_status: PreserveStatus = False,
) -> None:
    """Stream the output of a job.

    The job's stdout goes to stdout and its stderr to stderr, unchanged. Exits with the exit code of the job.
    Ctrl-C ends the stream; the job keeps running.

    If you combine --offset, --tail and --since, the latest position applies.
    """
    from jobworker.v1 import job_service_pb2
    from jobworker_cli.actions.stream import parse_since, select_source, stream_job

    request = job_service_pb2.GetJobsStreamRequest(
        offset=offset,
        follow=follow,
        tail_lines=tail,
        source=select_source(stdout_only=stdout_only, stderr_only=stderr_only),
        since=parse_since(since),
    )
    action = functools.partial(stream_job, timestamps=timestamps, preserve_status=preserve_status)
    execute(ctx, lambda client: action(client, job, request), failure=125)
