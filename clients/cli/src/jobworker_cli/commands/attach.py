"""`jobworker attach`: show the output of a running job, and pass input to it."""

import functools
from typing import Annotated

import typer

from jobworker_cli.settings.invocation import execute
from jobworker_cli.settings.options import JobRef
from jobworker_cli.settings.stream_options import DetachKeys, Tail

__all__ = ["attach"]


def attach(  # noqa: PLR0913 - one parameter per option
    ctx: typer.Context,
    job: JobRef,
    *,
    offset: Annotated[
        int | None,
        typer.Option(
            min=0, max=2**63 - 1, help="First byte of the output; 0 = all output. Default: new output only"
        ),
    ] = None,
    tail: Tail = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Take the stdin of the job over from another client.")
    ] = False,
    detach_keys: DetachKeys = "~.",
) -> None:
    """Show new output of a job and pass stdin to it (Admin only).

    Shows the terminal of a job that has one. After Enter, ~. detaches and ~? lists the escape sequences.
    Without a terminal, the end of stdin ends the stdin of the job, and Ctrl-C detaches. Exits with the exit
    code of the job.

    --offset and --tail also show earlier output, as in `jobworker stream`.
    """
    from jobworker.v1 import job_service_pb2
    from jobworker_cli.actions.attach import attach_job

    position = None
    if offset is not None or tail is not None:
        position = job_service_pb2.GetJobsStreamRequest(offset=offset or 0, tail_lines=tail, follow=False)
    action = functools.partial(
        attach_job, ref=job, position=position, detach_keys=detach_keys, take_over=take_over
    )
    execute(ctx, action, failure=125)
