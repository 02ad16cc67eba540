"""Runs the gateway from start to end."""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import structlog
import uvloop

from jobworker_cluster.access import InvalidKubeconfig
from jobworker_gateway import server
from jobworker_gateway.archives import open_archive
from jobworker_gateway.engine import Archive, Engine
from jobworker_gateway.kubernetes.engine import KubernetesEngine
from jobworker_gateway.kubernetes.settings import KubernetesSettings
from jobworker_gateway.settings import GatewayConfig
from jobworkerd.rpc_server import log_setup
from jobworkerd.rpc_server.log_lines import LogLines
from jobworkerd.rpc_server.telemetry import Exporting, SpanSource, telemetry
from jobworkerd.startup import CannotStart

_SERVICE_NAME = "jobworker-gateway"


def run(settings: GatewayConfig) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    lines = log_setup.configure(settings.logging, "gateway")
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    try:
        exporting: AbstractContextManager[Exporting[SpanSource]] = telemetry(os.environ, _SERVICE_NAME)
        # Loaded modules stay, and a garbage collection that includes them delays all calls by 20 ms.
        gc.freeze()
        with exporting as exported:
            uvloop.run(_with_log_lines(lines, _serve(settings, exported)))
    except CannotStart as error:
        log.error("cannot start", reason=str(error))  # noqa: TRY400 - the message is sufficient
        return 1
    except Exception:  # the log of the process must have it, as one line
        log.exception("gateway ended")
        return 1
    finally:
        lines.finish()
    return 0


async def _with_log_lines(lines: LogLines, serving: Coroutine[None, None, None]) -> None:
    """Serve while the loop writes pending log lines."""
    lines.watch(asyncio.get_running_loop())
    await serving


async def _serve(settings: GatewayConfig, exporting: Exporting[SpanSource]) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with open_archive(settings.archive) as archive, _open_engine(settings, archive) as engine:
        await server.serve(settings, engine, archive, stopped, exporting)


@asynccontextmanager
async def _open_engine(settings: GatewayConfig, archive: Archive) -> AsyncIterator[Engine]:
    """Open the engine, and close its connections when the context is left.

    Raises:
        CannotStart: the kubeconfig cannot be used.
    """
    kubernetes = KubernetesSettings(
        namespace=settings.namespace,
        kubeconfig=Path(settings.kubeconfig) if settings.kubeconfig else None,
        queues=settings.queues,
        lost_after=settings.lost_after,
    )
    try:
        engine = await KubernetesEngine.connect(kubernetes, archive)
    except InvalidKubeconfig as error:
        raise CannotStart(str(error)) from error
    try:
        yield engine
    finally:
        await engine.close()
