"""`jobworker run`: run a job like a local command, with its output, exit code and Ctrl-C."""

import typer

from jobworker_cli.settings.invocation import execute
from jobworker_cli.settings.options import Command, JobOptions, PreserveStatus, with_options

__all__ = ["run"]


@with_options(JobOptions)
def run(
    ctx: typer.Context, command: Command, *, options: JobOptions, preserve_status: PreserveStatus = False
) -> None:
    """Run a job like a local command (Admin only).

    Streams the output and exits with the exit code of the job, or with 124 after a timeout. Ctrl-C stops the
    job and shows its last output. A second Ctrl-C detaches from the job. With --queue, shows the position of
    the job in the queue on stderr until it starts.
    """
    from jobworker_cli.actions.create import create_request
    from jobworker_cli.actions.run import run_job

    request = create_request(command, options)
    execute(ctx, lambda client: run_job(client, request, preserve_status=preserve_status), failure=125)
