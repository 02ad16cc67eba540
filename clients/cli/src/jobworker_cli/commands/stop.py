"""`jobworker stop`: end jobs and print how they ended."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from jobworker.v1 import job_pb2
from jobworker_cli.context import execute
from jobworker_cli.errors import CliError, report
from jobworker_cli.options import Duration, JobRefs, OutputFormat, duration_option
from jobworker_cli.output import Format, print_jobs_json
from jobworker_cli.views import final_line

if TYPE_CHECKING:
    from jobworker_cli.client import Client

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
    if now and grace_period is not None:
        raise typer.BadParameter("give one of the two", param_hint="--now / --grace-period")
    grace = timedelta() if now else grace_period
    execute(ctx, lambda client: _stop(client, jobs, grace, output), output=output)


async def _stop(client: "Client", refs: list[str], grace: timedelta | None, output: Format) -> int:
    """Stops all that can be stopped; the exit code is 1 if there was one that could not."""

    async def stop_one(ref: str) -> job_pb2.Job:
        job = await client.stop(await client.resolve(ref), grace)
        if output is not Format.JSON:
            print(final_line(job), flush=True)
        return job

    results = await asyncio.gather(*map(stop_one, refs), return_exceptions=True)
    stopped, failed = [], 0
    for result in results:
        if isinstance(result, CliError):
            report(result, as_json=output is Format.JSON)
            failed = 1
        elif isinstance(result, BaseException):
            raise result
        else:
            stopped.append(result)
    if output is Format.JSON:
        print_jobs_json(stopped)
    return failed
