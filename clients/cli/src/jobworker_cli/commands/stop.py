"""`jobworker stop`: stop jobs and print their results."""

from datetime import timedelta
from typing import Annotated

import typer

from jobworker_cli.output import Format
from jobworker_cli.settings.invocation import execute
from jobworker_cli.settings.options import Duration, JobRefs, OutputFormat, parse_duration_option

__all__ = ["stop"]


def stop(
    ctx: typer.Context,
    jobs: JobRefs,
    *,
    grace_period: Annotated[
        Duration,
        typer.Option(
            parser=parse_duration_option,
            metavar="DURATION",
            help="Time between the stop signal and SIGKILL. Default: the job's own",
        ),
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Send SIGKILL at once; same as --grace-period 0.")
    ] = False,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Stop running jobs (Admin only).

    Waits until the jobs have ended. An ended job does not change.
    """
    from jobworker_cli.actions.stop import stop_jobs

    if now and grace_period is not None:
        raise typer.BadParameter("use only one of the two", param_hint="--now / --grace-period")
    grace_period = timedelta() if now else grace_period
    execute(ctx, lambda client: stop_jobs(client, jobs, grace_period, output), output=output)
