"""`jobworker stop`: end jobs and print how they ended."""

from datetime import timedelta
from typing import Annotated

import typer

from jobworker_cli.output import Format
from jobworker_cli.settings.call import execute
from jobworker_cli.settings.options import Duration, JobRefs, OutputFormat, duration_option

__all__ = ["stop"]


def stop(
    ctx: typer.Context,
    jobs: JobRefs,
    *,
    grace_period: Annotated[
        Duration,
        typer.Option(
            parser=duration_option,
            metavar="DURATION",
            help="How long the jobs are left alive after their stop signal. Default: as created",
        ),
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="Kill at once: a grace period of 0.")] = False,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Stop running jobs by ID (Admin only).

    Returns once they have ended. A job that had ended already is left as it is.
    """
    from jobworker_cli.actions.stop import stop_jobs

    if now and grace_period is not None:
        raise typer.BadParameter("give one of the two", param_hint="--now / --grace-period")
    grace = timedelta() if now else grace_period
    execute(ctx, lambda client: stop_jobs(client, jobs, grace, output), output=output)
