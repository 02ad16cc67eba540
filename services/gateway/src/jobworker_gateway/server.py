"""Serves the API for a cluster, until it is told to stop."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path

import structlog

from jobworker.v1 import cluster_service_pb2, job_service_pb2, login_service_pb2
from jobworker_gateway.archive.sql_archive import SqlArchive
from jobworker_gateway.archive_logins import ArchiveLogins, ArchiveSessions
from jobworker_gateway.certificate_watch import CertificateWatch
from jobworker_gateway.certificates import CertificateDirectory
from jobworker_gateway.cluster_service import ClusterService
from jobworker_gateway.creation import Creation
from jobworker_gateway.engine import Engine
from jobworker_gateway.health import NAMES, ClusterHealth
from jobworker_gateway.jobs import Jobs
from jobworker_gateway.metrics import GatewayMetrics
from jobworker_gateway.node_certificate import CertificateFiles, NodeCertificate
from jobworker_gateway.node_connections import NodeConnections
from jobworker_gateway.node_errors import NodeErrors
from jobworker_gateway.node_trace import NodeTrace
from jobworker_gateway.service import GatewayJobService
from jobworker_gateway.settings import GatewayConfig
from jobworkerd.config import MetricsConfig, listen_address
from jobworkerd.rpc_server import server, shutdown
from jobworkerd.rpc_server.active_calls import ActiveCalls
from jobworkerd.rpc_server.clients import Clients
from jobworkerd.rpc_server.health import DRAINING, Health
from jobworkerd.rpc_server.identity.credentials import Certificates
from jobworkerd.rpc_server.identity.principal import Identities
from jobworkerd.rpc_server.interceptors.authorization import Authorization
from jobworkerd.rpc_server.interceptors.call_bounds import CallBounds
from jobworkerd.rpc_server.interceptors.errors import Errors
from jobworkerd.rpc_server.interceptors.logging import AccessLog
from jobworkerd.rpc_server.interceptors.rpc_metrics import RpcMetrics
from jobworkerd.rpc_server.login_service import LoginService
from jobworkerd.rpc_server.memory import trim_periodically
from jobworkerd.rpc_server.metrics.endpoint import MetricsEndpoint, bind
from jobworkerd.rpc_server.registration import Service
from jobworkerd.rpc_server.telemetry import Exporting, SpanSource


async def serve(
    settings: GatewayConfig,
    engine: Engine,
    archive: SqlArchive,
    stopped: asyncio.Event,
    exporting: Exporting[SpanSource],
) -> None:
    """Serve until `stopped` is set, then end every call with a status.

    The interceptors of `exporting` are outermost.

    Raises:
        CannotStart: a certificate is unusable, or the address cannot be bound.
    """
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    config = settings.server
    health = Health(NAMES)
    sessions = ArchiveSessions(archive)
    identities = Identities(sessions)
    active_calls = ActiveCalls(identities)
    clients = Clients(config.quota)
    call_bounds = CallBounds(identities, sessions, clients, config.api.max_concurrent_rpcs)
    for_nodes = NodeCertificate(CertificateFiles(*settings.node_files))
    for_nodes.check()
    nodes = NodeConnections(for_nodes, asyncio.get_running_loop().time)
    watch = CertificateWatch(for_nodes, nodes, engine, health.note_expiry)
    creation = Creation(config, settings.queues)
    service = GatewayJobService(config, creation, Jobs(engine, archive), nodes, identities)
    directory = Path(config.certs_dir)
    certificates = Certificates(
        directory, CertificateDirectory(directory), identities.trust, health.note_expiry
    )
    metrics = GatewayMetrics(engine, lambda: {**certificates.expiries(), **watch.expiries()})
    measured = [RpcMetrics(metrics.rpc_durations)] if config.metrics.listen else []
    authorization = Authorization(identities, active_calls)
    grpc_server = server.build(
        config.api,
        [
            *exporting.interceptors,
            NodeTrace(),
            *measured,
            AccessLog(),
            Errors(),
            NodeErrors(),
            call_bounds,
            authorization,
        ],
        _services(service, LoginService(ArchiveLogins(archive), identities), engine),
        health,
        shares_port=False,
    )
    credentials = await certificates.credentials()
    address = server.listen(grpc_server, config.listen, credentials, shares_port=False)
    clients.port = listen_address(address)[1]
    scraping = _serve_metrics(config.metrics, metrics, identities, certificates)
    await grpc_server.start()
    log.info("listening", address=address)
    if exporting.metrics:
        exporting.metrics.start(metrics.for_export)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(each)
            for each in (
                engine.run(),
                ClusterHealth(health, engine, archive).watch(),
                certificates.poll(active_calls.check),
                watch.run(),
                call_bounds.end_late_reads(),
                trim_periodically(),
                *scraping,
            )
        ]
        try:
            await stopped.wait()
        finally:
            health.add(DRAINING)
            service.draining.set()
            await shutdown.stop(grpc_server, active_calls, clients.port)
            await nodes.close()
            for task in tasks:
                task.cancel()


def _serve_metrics(
    config: MetricsConfig, metrics: GatewayMetrics, identities: Identities, certificates: Certificates
) -> list[Coroutine[None, None, None]]:
    """Return the coroutine that serves the Prometheus endpoint, if there is one.

    Raises:
        CannotStart: the address cannot be bound.
    """
    if not config.listen:
        return []
    tls = None if config.is_loopback else certificates.tls_context
    sock = bind(*listen_address(config.listen))
    return [MetricsEndpoint(metrics.report, identities, tls).serve(sock)]


def _services(jobs: GatewayJobService, logins: LoginService, engine: Engine) -> list[Service]:
    return [
        Service(job_service_pb2.DESCRIPTOR.services_by_name["JobService"], jobs),
        Service(login_service_pb2.DESCRIPTOR.services_by_name["LoginService"], logins),
        Service(cluster_service_pb2.DESCRIPTOR.services_by_name["ClusterService"], ClusterService(engine)),
    ]
