"""Open the client for the resolved settings, and look up job ids."""

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

from jobworker_cli.errors import CliError, CliReason
from jobworker_cli.output import print_message
from jobworker_cli.render.error_messages import to_cli_error
from jobworker_cli.settings.contexts import check_key_permissions
from jobworker_cli.settings.resolve import Settings
from jobworker_client import Client, ClientConfig, ErrorReason, JobWorkerError
from jobworker_client.errors import reason_name

__all__ = ["FULL_ID", "client_config", "connect", "resolve_job_id"]

FULL_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

CANDIDATES = 5


@contextlib.asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Client]:
    """Yield a client, and close it at the end of the context.

    Raises:
        CliError: the certificates or the address are not usable, or a call failed.
    """
    config = client_config(settings)
    try:
        async with Client(config, deadline=settings.timeout) as client:
            _warn_about_key_permissions(config.key)
            yield client
    except JobWorkerError as error:
        raise to_cli_error(error) from error


def client_config(settings: Settings) -> ClientConfig:
    """Return the configuration of the client.

    Raises:
        CliError: other users can read the key of a context.
    """
    if settings.key_from_context:
        check_key_permissions(settings.key)
    return ClientConfig(
        server=settings.server,
        ca=settings.ca,
        cert=settings.cert,
        key=settings.key,
        server_name=settings.server_name,
    )


async def resolve_job_id(client: Client, prefix: str) -> str:
    """Return the id of the only job whose id has the prefix; a full id needs no call.

    Raises:
        CliError: no id or several ids have the prefix, or the prefix is empty.
    """
    if FULL_ID.fullmatch(prefix):
        return prefix.lower()
    if not prefix:
        raise CliError("the job id is empty; use an id or a prefix", hint="`jobworker list` shows the ids")
    matches = [job.id async for job in client.list(id_prefix=prefix.lower(), limit=CANDIDATES + 1)]
    if not matches:
        raise CliError(
            f'no job id begins with "{prefix}"',
            hint="`jobworker list` shows the jobs of the server",
            code="NOT_FOUND",
            reason=reason_name(ErrorReason.ERROR_REASON_JOB_NOT_FOUND),
        )
    if len(matches) > 1:
        raise _ambiguous(prefix, matches)
    return matches[0]


def _ambiguous(prefix: str, matches: list[str]) -> CliError:
    more = " and more" if len(matches) > CANDIDATES else ""
    return CliError(
        f'several job ids begin with "{prefix}": {", ".join(matches[:CANDIDATES])}{more}',
        hint="use a longer prefix",
        code="INVALID_ARGUMENT",
        reason=CliReason.AMBIGUOUS_ID,
    )


def _warn_about_key_permissions(key: Path) -> None:
    if key.stat().st_mode & 0o077:
        print_message(f"warning: other users can read the key {key}; run: chmod 600 {key}")
