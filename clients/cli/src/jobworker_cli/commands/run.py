"""`jobworker run`: a job as if it were a command of this shell: its output, its exit code, its Ctrl-C."""

import typer

from jobworker_cli.settings.call import execute
from jobworker_cli.settings.options import Command, JobOptions, PreserveStatus, with_options

__all__ = ["run"]


@with_options(JobOptions)
def run(
    ctx: typer.Context, command: Command, *, options: JobOptions, preserve_status: PreserveStatus = False
) -> None:
    """Create a job, stream it, and exit with its exit code; with 124 if it ran into its timeout.

    Ctrl-C stops the job and shows its last output; a second Ctrl-C leaves the job alone.
    """
    from jobworker_cli.actions.create import new_request
    from jobworker_cli.actions.run import run_job

    request = new_request(command, options)
    execute(ctx, lambda client: run_job(client, request, preserve_status=preserve_status), failure=125)
