"""`jobworker attach`: show the output of a running job, and pass input to it."""

import functools
from typing import Annotated

import typer

from jobworker_cli.settings.invocation import execute
from jobworker_cli.settings.options import DetachKeys, JobRef

__all__ = ["attach"]


def attach(
    ctx: typer.Context,
    job: JobRef,
    *,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Take the stdin of the job over from another client.")
    ] = False,
    detach_keys: DetachKeys = "~.",
) -> None:
    """Show new output of a job and pass stdin to it (Admin only).

    Shows the terminal of a job that has one. After Enter, ~. detaches and ~? lists the escape sequences.
    Without a terminal, the end of stdin ends the stdin of the job, and Ctrl-C detaches. Exits with the exit
    code of the job.
    """
    from jobworker_cli.actions.attach import attach_job

    action = functools.partial(attach_job, ref=job, detach_keys=detach_keys, take_over=take_over)
    execute(ctx, action, failure=125)
