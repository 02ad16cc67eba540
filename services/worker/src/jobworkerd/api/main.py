"""Runs the API process from start to end.

The process ends when the supervisor closes the socket between them. It must not end earlier: during a
shutdown its streams still send the last output of the jobs.
"""

import argparse
import asyncio
import contextlib
import gc
import importlib
import os
import socket
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import uvloop

from jobworker.v1 import job_service_pb2, login_service_pb2, node_service_pb2
from jobworkerd.api import privileges
from jobworkerd.api.host import Host, describe_host
from jobworkerd.api.metrics.api_metrics import ApiMetrics
from jobworkerd.api.node_service import NodeService
from jobworkerd.api.service import JobService
from jobworkerd.api.streaming.streams import Streams
from jobworkerd.api.supervisor_logins import SupervisorLogins
from jobworkerd.config import Config, MetricsConfig, from_json, listen_address
from jobworkerd.errors import ShuttingDown, SupervisorUnavailable
from jobworkerd.keeper import memory_file
from jobworkerd.model import LimitsPolicy
from jobworkerd.protocol.client import SupervisorClient
from jobworkerd.protocol.login_messages import GetSessionKey, SessionKey
from jobworkerd.protocol.replies import expect
from jobworkerd.rpc_server import log_setup, preload, server, shutdown
from jobworkerd.rpc_server.active_calls import ActiveCalls
from jobworkerd.rpc_server.clients import Clients
from jobworkerd.rpc_server.health import (
    DRAINING,
    LIMITS,
    NO_ANSWER,
    SERVICES,
    STARTING,
    UNLIMITED,
    Health,
)
from jobworkerd.rpc_server.identity.credentials import Certificates
from jobworkerd.rpc_server.identity.principal import Identities
from jobworkerd.rpc_server.identity.session_token import SessionTokens
from jobworkerd.rpc_server.interceptors.authorization import Authorization
from jobworkerd.rpc_server.interceptors.call_bounds import CallBounds
from jobworkerd.rpc_server.interceptors.errors import Errors
from jobworkerd.rpc_server.interceptors.logging import AccessLog
from jobworkerd.rpc_server.interceptors.rpc_metrics import RpcMetrics
from jobworkerd.rpc_server.log_lines import LogLines
from jobworkerd.rpc_server.login_service import LoginService
from jobworkerd.rpc_server.memory import trim_periodically
from jobworkerd.rpc_server.registration import Service
from jobworkerd.rpc_server.telemetry import Exporting, telemetry
from jobworkerd.startup import CannotStart

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from jobworkerd.api.job_spans import JobSpans

_SERVICE_NAME = "jobworkerd"

_SUPERVISOR_ENDED = (
    "the supervisor ended before this process served; the next supervisor starts another one, "
    "and if none starts, see the log lines above"
)


def run(arguments: Sequence[str]) -> int:
    """Serve until the supervisor closes the socket; return the exit code."""
    parser = argparse.ArgumentParser(prog="jobworkerd.api", description="Started by the supervisor.")
    parser.add_argument("--config-fd", type=int, required=True)
    parser.add_argument("--socket-fd", type=int, required=True)
    parser.add_argument("--jobs-fd", type=int, required=True, help="directory of the jobs' logs")
    parser.add_argument("--uid", type=int, help="change to this user [default: keep the user]")
    parser.add_argument("--gid", type=int, help="change to this group, and leave all others")
    given = parser.parse_args(arguments)
    config = _read_config(given.config_fd)
    lines = log_setup.configure(config.logging, "api")
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    try:
        exporting = telemetry(os.environ, _SERVICE_NAME, partial(_job_spans, config.log.max_bytes))
        if config.metrics.listen:
            importlib.import_module("jobworkerd.api.metrics.prometheus")
        preload.load()
        # The directories above may be inaccessible to the user of this process.
        host = describe_host(config, Path(f"/proc/self/fd/{given.jobs_fd}"))
        # Loaded modules stay, and a garbage collection that includes them delays all calls by 20 ms.
        gc.freeze()
        listens = [each for each in (config.listen, config.metrics.listen) if each]
        privileges.drop(given.uid, given.gid, [listen_address(each)[1] for each in listens])
        with exporting as exported:
            sock = socket.socket(fileno=given.socket_fd)
            uvloop.run(_with_log_lines(lines, serve(config, host, sock, exported, log)))
    except CannotStart as error:
        log.error("cannot start", reason=str(error))  # noqa: TRY400 - the message is sufficient
        return 1
    finally:
        lines.finish()
    return 0


def _job_spans(max_log_bytes: int, resource: "Resource") -> "JobSpans":
    """Load the code of the spans of jobs, which only a process with an exporter needs."""
    from jobworkerd.api.job_spans import JobSpans

    return JobSpans(resource, max_log_bytes)


async def _with_log_lines(lines: LogLines, serving: Coroutine[None, None, None]) -> None:
    """Serve while the loop writes pending log lines."""
    lines.watch(asyncio.get_running_loop())
    await serving


def _read_config(descriptor: int) -> Config:
    with os.fdopen(descriptor, "rb") as file:
        return from_json(memory_file.read(file.fileno()))


async def serve(
    config: Config,
    host: Host,
    sock: socket.socket,
    exporting: "Exporting[JobSpans]",
    log: structlog.typing.FilteringBoundLogger,
) -> None:
    """Serve until the other end of the socket is closed; the interceptors of `exporting` are outermost.

    Raises:
        CannotStart: the certificates are unusable, the address cannot be bound, or the supervisor ended.
    """
    draining = asyncio.Event()
    health = Health()
    strict = config.defaults.limits_policy is LimitsPolicy.STRICT
    metrics = ApiMetrics()
    supervisor = await SupervisorClient.connect(
        sock,
        draining.set,
        partial(_report_limits, health, log, SERVICES if strict else ()),
        metrics.encoded,
    )
    sessions = SessionTokens(partial(_session_key, supervisor))
    identities = Identities(sessions, is_host=True)
    active_calls = ActiveCalls(identities)
    clients = Clients(config.quota)
    streams = Streams(supervisor, host.jobs_dir, config.log, metrics.readers)
    service = JobService(config, streams, supervisor, identities, draining)
    if job_spans := exporting.spans:
        service.on_created = job_spans.created
        job_spans.acknowledge_with(supervisor.acknowledge_spans)
    call_bounds = CallBounds(identities, sessions, clients, config.api.max_concurrent_rpcs)
    grpc_server = server.build(
        config.api,
        [
            *exporting.interceptors,
            *([RpcMetrics(metrics.rpc_durations)] if config.metrics.listen else ()),
            AccessLog(),
            Errors(),
            call_bounds,
            Authorization(identities, active_calls),
        ],
        [
            Service(job_service_pb2.DESCRIPTOR.services_by_name["JobService"], service),
            Service(
                login_service_pb2.DESCRIPTOR.services_by_name["LoginService"],
                LoginService(SupervisorLogins(supervisor, sessions), identities),
            ),
            Service(
                node_service_pb2.DESCRIPTOR.services_by_name["NodeService"],
                NodeService(config, host, identities, service),
            ),
        ],
        health,
    )
    certificates = Certificates(Path(config.certs_dir), supervisor, identities.trust, health.note_expiry)
    try:
        credentials = await certificates.credentials()
    except ShuttingDown:
        return
    except SupervisorUnavailable as error:
        raise CannotStart(_SUPERVISOR_ENDED) from error
    metrics.expiries = certificates.expiries
    address = server.listen(grpc_server, config.listen, credentials)
    clients.port = listen_address(address)[1]
    scraping = _serve_metrics(config.metrics, supervisor, identities, certificates)
    await grpc_server.start()
    log.info("listening", address=address)
    health.remove(STARTING)
    background = [
        asyncio.create_task(certificates.poll(active_calls.check)),
        asyncio.create_task(trim_periodically()),
        asyncio.create_task(call_bounds.end_late_reads()),
        asyncio.create_task(supervisor.watch(partial(_report_supervisor, health, log))),
    ]
    if exporting.metrics:
        exporting.metrics.start(partial(metrics.for_export, supervisor))
    try:
        with contextlib.suppress(SupervisorUnavailable):
            await supervisor.ready(job_spans.ended if job_spans else None)
        await _until_closed(supervisor, health, draining)
    finally:
        for task in [*background, *scraping]:
            task.cancel()
        health.add(DRAINING)
        end = shutdown.stop if draining.is_set() else shutdown.abandon
        await end(grpc_server, active_calls, clients.port)


def _serve_metrics(
    config: MetricsConfig,
    supervisor: SupervisorClient,
    identities: Identities,
    certificates: Certificates,
) -> "list[asyncio.Task[None]]":
    """Serve the Prometheus endpoint, if there is one, and return its task.

    Raises:
        CannotStart: the address cannot be bound.
    """
    if not config.listen:
        return []
    from jobworkerd.api.metrics import prometheus

    tls = None if config.is_loopback else certificates.tls_context
    sock = prometheus.bind(*listen_address(config.listen))
    return [asyncio.create_task(prometheus.endpoint(supervisor.metrics, identities, tls).serve(sock))]


async def _session_key(supervisor: SupervisorClient) -> bytes:
    return expect(await supervisor.request(GetSessionKey())[1], SessionKey).key


def _report_supervisor(
    health: Health,
    log: structlog.typing.FilteringBoundLogger,
    answers: bool,  # noqa: FBT001 - a callback's argument
) -> None:
    """Update health and log when the supervisor stops or resumes answering."""
    if answers:
        health.remove(NO_ANSWER)
        log.info("supervisor answers again")
    else:
        health.add(NO_ANSWER)
        log.error("supervisor does not answer")


def _report_limits(
    health: Health, log: structlog.typing.FilteringBoundLogger, affected: Sequence[str], reason: str
) -> None:
    """Update health and log when limits become unavailable or available.

    `affected` are the services that are NOT_SERVING without limits.
    """
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
