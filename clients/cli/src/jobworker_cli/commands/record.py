"""`jobworker record`: export the output of a job with its times."""

from pathlib import Path
from typing import Annotated

import typer

from jobworker_cli.settings.invocation import execute
from jobworker_cli.settings.options import JobRef

__all__ = ["record"]


def record(
    ctx: typer.Context,
    job: JobRef,
    *,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File of the recording. Default: stdout")
    ] = None,
) -> None:
    """Export the output of a job as a recording for asciinema.

    The format is asciicast v3. The recording has the whole output with its times. If the job runs, it
    continues until the job ends. A job without a terminal is shown in one with 80 columns and 24 rows.
    """
    from jobworker_cli.actions.record import record_job

    execute(ctx, lambda client: record_job(client, job, output), failure=125)
