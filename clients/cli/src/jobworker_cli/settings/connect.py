"""The client that a verb works with, and the job that a reference means."""

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

from jobworker_cli.errors import CliError
from jobworker_cli.output import say
from jobworker_cli.render.error_messages import to_cli_error
from jobworker_cli.settings.contexts import refuse_open_key
from jobworker_cli.settings.resolve import Settings
from jobworker_client import Client, ClientConfig, JobWorkerError

__all__ = ["FULL_ID", "connect", "resolve", "target_of"]

FULL_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

CANDIDATES = 5


@contextlib.asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Client]:
    """Makes a client for as long as the context lasts.

    Raises:
        CliError: the certificates or the address cannot be used, or a call failed.
    """
    target = target_of(settings)
    try:
        async with Client(target, deadline=settings.timeout) as client:
            _warn_of_key(target.key)
            yield client
    except JobWorkerError as error:
        raise to_cli_error(error) from error


def target_of(settings: Settings) -> ClientConfig:
    """Returns the server and the files that the settings name.

    Raises:
        CliError: others can read the key of a context.
    """
    if settings.own_key:
        refuse_open_key(settings.key)
    return ClientConfig(
        server=settings.server,
        ca=settings.ca,
        cert=settings.cert,
        key=settings.key,
        server_name=settings.server_name,
    )


async def resolve(client: Client, job: str) -> str:
    """Returns the full id of the one job whose id begins with `job`."""
    if FULL_ID.fullmatch(job):
        return job.lower()
    if not job:
        raise CliError("the job's id is empty", hint="`jobworker list` shows the ids")
    found = [each.id async for each in client.list(id_prefix=job.lower(), limit=CANDIDATES + 1)]
    if not found:
        raise CliError(
            f'no job "{job}"',
            hint="`jobworker list` shows the jobs that the server knows",
            code="NOT_FOUND",
            reason="JOB_NOT_FOUND",
        )
    if len(found) > 1:
        raise _ambiguous(job, found)
    return found[0]


def _ambiguous(job: str, found: list[str]) -> CliError:
    more = " and more" if len(found) > CANDIDATES else ""
    return CliError(
        f'"{job}" is the beginning of more than one id: {", ".join(found[:CANDIDATES])}{more}',
        hint="give more of the id",
        code="INVALID_ARGUMENT",
        reason="AMBIGUOUS_ID",
    )


def _warn_of_key(key: Path) -> None:
    if key.stat().st_mode & 0o077:
        say(f"warning: {key} can be read by others; cure: chmod 600 {key}")
