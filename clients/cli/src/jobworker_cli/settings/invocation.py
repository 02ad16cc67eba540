"""Run the action of a subcommand with a connected client, and exit with its code.

Importing grpc and asyncio is slow, so this module imports them only when an action runs.
"""

import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn

import typer

from jobworker_cli.errors import CliError, describe_os_error, print_error
from jobworker_cli.output import Format

if TYPE_CHECKING:
    from jobworker_cli.settings.resolve import Settings
    from jobworker_client import Client

__all__ = ["execute"]


def execute(
    ctx: typer.Context,
    action: "Callable[[Client], Awaitable[int]]",
    *,
    output: Format = Format.TABLE,
    failure: int = 1,
    span: str = "",
) -> NoReturn:
    """Connect, run the action of a subcommand, and exit with its result.

    Args:
        ctx: the context of the subcommand; its root has the global options.
        action: returns the exit code.
        output: with JSON, errors are JSON too.
        failure: the exit code if the action fails.
        span: the name of a span for the action, if the variables of OpenTelemetry ask for its export.
    """
    import asyncio

    from jobworker_cli.settings.resolve import connection_settings
    from jobworker_cli.settings.tracing import traced

    debug = bool(ctx.find_root().params["debug"])
    try:
        running = _run_connected(connection_settings(ctx.find_root()), action)
        code = asyncio.run(traced(span, running) if span else running)
        sys.stdout.flush()
    except BrokenPipeError:
        _die_of_sigpipe()
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except (CliError, OSError) as error:
        _print_traceback(debug)
        expected = error if isinstance(error, CliError) else CliError(describe_os_error(error))
        print_error(expected, as_json=output.is_json)
        code = expected.exit_code or failure
    except Exception as error:  # noqa: BLE001 - report bugs in one line, too
        _print_traceback(debug)
        bug = CliError(f"internal error: {type(error).__name__}: {error}", hint="use --debug for a traceback")
        print_error(bug, as_json=output.is_json)
        code = failure
    raise typer.Exit(code)


async def _run_connected(settings: "Settings", action: "Callable[[Client], Awaitable[int]]") -> int:
    from jobworker_cli.settings.connect import connect

    async with connect(settings) as client:
        return await action(client)


def _print_traceback(debug: bool) -> None:  # noqa: FBT001 - the value of the option
    if debug:
        traceback.print_exc()


def _die_of_sigpipe() -> NoReturn:
    """End by SIGPIPE, because Python ignores it and the shell expects it (`cat | head`)."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    raise AssertionError("SIGPIPE is blocked")
