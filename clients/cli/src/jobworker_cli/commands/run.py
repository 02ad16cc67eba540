"""`jobworker run`: run a job like a local command, with its input, output, exit code and Ctrl-C."""

import functools
import sys

import typer

from jobworker_cli.settings.invocation import execute
from jobworker_cli.settings.options import Command, RunOptions, with_options

__all__ = ["run"]


@with_options(RunOptions)
def run(ctx: typer.Context, command: Command, *, options: RunOptions) -> None:
    """Run a job like a local command (Admin only).

    Streams the output and exits with the exit code of the job, or with 124 after a timeout. Ctrl-C stops the
    job and shows its last output. A second Ctrl-C detaches from the job. With --queue, shows the position of
    the job in the queue on stderr until it starts.

    --upload copies files to the job before the command starts, and --download copies files back after its
    end. Both need sh and tar in the job.

    With -it, each key goes to the job. After Enter, ~. detaches and ~? lists the escape sequences. With -d,
    `jobworker attach` can pass input later.
    """
    from jobworker_cli.actions.create import create_request
    from jobworker_cli.actions.run import run_detached, run_job
    from jobworker_cli.files.transfer import parse_transfer

    if options.interactive and options.terminal and not (options.detach or sys.stdin.isatty()):
        raise typer.BadParameter("stdin is not a terminal; use -i without -t", param_hint="--terminal")
    if (options.upload or options.download) and (options.terminal or options.detach):
        raise typer.BadParameter("use neither --terminal nor --detach", param_hint="--upload / --download")
    transfer = parse_transfer(options.upload or (), options.download or ())
    action = run_detached if options.detach else functools.partial(run_job, transfer=transfer)
    request = create_request(command, options)
    execute(ctx, lambda client: action(client, request, options), failure=125, span="jobworker run")
