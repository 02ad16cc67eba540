"""The API process's life, top to bottom.

It ends when the supervisor closes the socket between them, and only then: what the process holds is
others' streams, whose last bytes are still to come while the server shuts down.
"""

import argparse
import asyncio
import contextlib
import os
import socket
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path

import structlog
import uvloop

from jobworkerd.api import log_setup, preload, server, shutdown
from jobworkerd.api.active_calls import ActiveCalls
from jobworkerd.api.health import DRAINING, LIMITS, NO_ANSWER, SERVICES, STARTING, UNLIMITED, Health
from jobworkerd.api.identity import privileges
from jobworkerd.api.identity.credentials import Certificates
from jobworkerd.api.identity.principal import Identities
from jobworkerd.api.interceptors.authorization import Authorization
from jobworkerd.api.interceptors.errors import Errors
from jobworkerd.api.interceptors.logging import AccessLog
from jobworkerd.api.interceptors.server_interceptor import ServerInterceptor
from jobworkerd.api.log_lines import LogLines
from jobworkerd.api.memory import trim_periodically
from jobworkerd.api.service import JobService
from jobworkerd.api.telemetry import telemetry
from jobworkerd.config import Config, from_json, listen_address
from jobworkerd.errors import SupervisorUnavailable
from jobworkerd.model import LimitsPolicy
from jobworkerd.protocol.client import SupervisorClient
from jobworkerd.startup import CannotStart


def run(arguments: Sequence[str]) -> int:
    """Serves until the supervisor closes the socket; returns the exit code."""
    parser = argparse.ArgumentParser(prog="jobworkerd.api", description="Started by the supervisor.")
    parser.add_argument("--config-fd", type=int, required=True)
    parser.add_argument("--socket-fd", type=int, required=True)
    parser.add_argument("--jobs-fd", type=int, required=True, help="the directory of the jobs' logs")
    parser.add_argument("--uid", type=int, help="become this user [default: stay who we are]")
    parser.add_argument("--gid", type=int, help="and a member of this group alone")
    given = parser.parse_args(arguments)
    config = _read_config(given.config_fd)
    lines = log_setup.configure(config.logging)
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    # The directories above need not let this process through.
    jobs_dir = Path(f"/proc/self/fd/{given.jobs_fd}")
    try:
        exporting = telemetry(os.environ)
        preload.load()
        privileges.drop(given.uid, given.gid, listen_address(config.listen)[1])
        with exporting as extra:
            sock = socket.socket(fileno=given.socket_fd)
            uvloop.run(_watching(lines, serve(config, jobs_dir, sock, extra, log)))
    except CannotStart as error:
        log.error("cannot start", reason=str(error))  # noqa: TRY400 - the sentence says it, a traceback not
        return 1
    finally:
        lines.finish()
    return 0


async def _watching(lines: LogLines, serving: Coroutine[None, None, None]) -> None:
    """Serves while the loop writes the lines that wait."""
    lines.watch(asyncio.get_running_loop())
    await serving


def _read_config(descriptor: int) -> Config:
    # The descriptor's position may be shared with other API processes.
    with os.fdopen(descriptor, "rb") as file:
        return from_json(os.pread(descriptor, os.fstat(file.fileno()).st_size, 0))


async def serve(
    config: Config,
    jobs_dir: Path,
    sock: socket.socket,
    extra: Sequence[ServerInterceptor],
    log: structlog.typing.FilteringBoundLogger,
) -> None:
    """Serves until the other end of the socket is closed; `extra` are interceptors around the usual ones.

    Raises:
        CannotStart: the certificates are of no use, or the address cannot be bound.
    """
    draining = asyncio.Event()
    health = Health()
    strict = config.defaults.limits_policy is LimitsPolicy.STRICT
    supervisor = await SupervisorClient.connect(
        sock, draining.set, partial(_tell_limits, health, log, SERVICES if strict else ())
    )
    identities = Identities()
    active_calls = ActiveCalls(identities)
    grpc_server = server.build(
        config.api,
        [*extra, AccessLog(), Errors(), Authorization(identities, active_calls)],
        JobService(config, jobs_dir, supervisor, identities, draining),
        health,
    )
    certificates = Certificates(Path(config.certs_dir), supervisor, identities.trust)
    address = server.listen(grpc_server, config.listen, await certificates.credentials())
    await grpc_server.start()
    log.info("listening", address=address)
    health.remove(STARTING)
    polling = asyncio.create_task(certificates.poll(active_calls.check))
    trimming = asyncio.create_task(trim_periodically())
    watching = asyncio.create_task(supervisor.watch(partial(_tell, health, log)))
    try:
        with contextlib.suppress(SupervisorUnavailable):
            await supervisor.ready()
        await _until_closed(supervisor, health, draining)
    finally:
        polling.cancel()
        trimming.cancel()
        watching.cancel()
        health.add(DRAINING)
        await shutdown.stop(grpc_server, active_calls)


def _tell(health: Health, log: structlog.typing.FilteringBoundLogger, answers: bool) -> None:  # noqa: FBT001 - a callback's argument
    """Says whether the supervisor answers."""
    if answers:
        health.remove(NO_ANSWER)
        log.info("supervisor answers again")
    else:
        health.add(NO_ANSWER)
        log.error("supervisor does not answer")


def _tell_limits(
    health: Health, log: structlog.typing.FilteringBoundLogger, affected: Sequence[str], reason: str
) -> None:
    """Says whether limits are enforced; `affected` are the services that are of no use without them."""
    if reason:
        health.add(UNLIMITED, (LIMITS, *affected))
        log.error("limits cannot be enforced", reason=reason)
    else:
        health.remove(UNLIMITED)
        log.info("limits can be enforced again")


async def _until_closed(supervisor: SupervisorClient, health: Health, draining: asyncio.Event) -> None:
    closed = asyncio.create_task(supervisor.wait_closed())
    drain = asyncio.create_task(draining.wait())
    await asyncio.wait((closed, drain), return_when=asyncio.FIRST_COMPLETED)
    health.add(DRAINING)
    await closed
    drain.cancel()
