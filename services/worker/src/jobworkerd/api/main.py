"""The API process's life, top to bottom."""

import asyncio
import os
import signal
import socket

import structlog
import uvloop

from jobworkerd.api import logs
from jobworkerd.api.identity import Identities
from jobworkerd.api.interceptors.authorization import Authorization
from jobworkerd.api.interceptors.errors import Errors
from jobworkerd.api.interceptors.logging import AccessLog
from jobworkerd.api.server import ApiServer
from jobworkerd.api.service import JobService
from jobworkerd.api.startup import CannotStart
from jobworkerd.api.telemetry import telemetry
from jobworkerd.config import Config
from jobworkerd.protocol.client import SupervisorClient

_STOP_GRACE_SECONDS = 2.0


def run(config: Config, supervisor: socket.socket) -> int:
    """Serves until the supervisor closes the socket; returns the exit code."""
    logs.configure(config.logging)
    # A terminal's Ctrl-C goes to all processes of the group, but when to end is for the supervisor to say.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    try:
        uvloop.run(_serve(config, supervisor))
    except CannotStart as error:
        structlog.get_logger().error("cannot start", reason=str(error))
        return 1
    return 0


async def _serve(config: Config, sock: socket.socket) -> None:
    draining = asyncio.Event()
    supervisor = await SupervisorClient.connect(sock, draining.set)
    identities = Identities()
    with telemetry(os.environ) as traced:
        service = JobService(supervisor, identities, config)
        interceptors = [*traced, AccessLog(), Errors(), Authorization(identities)]
        server = ApiServer(config, service, interceptors)
        await server.start()
        structlog.get_logger().info("listening", address=config.listen)
        await supervisor.ready()
        drain = asyncio.create_task(_drain(draining, service, server))
        try:
            await supervisor.wait_closed()
        finally:
            drain.cancel()
            await server.stop(_STOP_GRACE_SECONDS)


async def _drain(asked: asyncio.Event, service: JobService, server: ApiServer) -> None:
    await asked.wait()
    service.drain()
    await server.drain()
