"""What a call of the command is about: the server, the certificates, and how a verb's work is run.

grpc and asyncio take long to import, so they are imported here, once a verb has something to ask.
"""

import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn

import typer

from jobworker_cli.errors import CliError, report
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
) -> NoReturn:
    """Connects, runs a verb's work, and exits with what it returns.

    Args:
        ctx: the verb's context, whose root has the options before the verb.
        action: the work; its result is the exit code.
        output: JSON makes errors JSON, too.
        failure: the exit code where the work fails.
    """
    import asyncio

    from jobworker_cli.settings.resolve import settings_of

    debug = bool(ctx.find_root().params["debug"])
    try:
        code = asyncio.run(_connected(settings_of(ctx.find_root()), action))
        sys.stdout.flush()
    except BrokenPipeError:
        _end_by_sigpipe()
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except (CliError, OSError) as error:
        _debug(debug)
        known = error if isinstance(error, CliError) else CliError(f"{error}")
        report(known, as_json=output.is_json)
        code = known.exit_code or failure
    except Exception as error:  # noqa: BLE001 - a bug is a sentence, too; --debug shows the rest
        _debug(debug)
        bug = CliError(f"internal error: {type(error).__name__}: {error}", hint="--debug shows where")
        report(bug, as_json=output.is_json)
        code = failure
    raise typer.Exit(code)


async def _connected(settings: "Settings", action: "Callable[[Client], Awaitable[int]]") -> int:
    from jobworker_cli.settings.connect import connect

    async with connect(settings) as client:
        return await action(client)


def _debug(debug: bool) -> None:  # noqa: FBT001 - as the option has it
    if debug:
        traceback.print_exc()


def _end_by_sigpipe() -> NoReturn:
    """Ends as a program that never heard of SIGPIPE would, for the shell to see (`cat | head`)."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    raise AssertionError("SIGPIPE is blocked")
