"""Builds the gRPC server: its options, its certificates and its services."""

from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection, reflection_pb2

from jobworker.v1 import job_service_pb2, job_service_pb2_grpc
from jobworkerd.api.interceptors.around import Around
from jobworkerd.api.service import JobService
from jobworkerd.api.startup import CannotStart
from jobworkerd.config import Config

SERVICE = job_service_pb2.DESCRIPTOR.services_by_name["JobService"].full_name

_KEEPALIVE_TIMEOUT_SECONDS = 10
_LEAST_PING_INTERVAL_SECONDS = 10
"""A client that pings more often is told too_many_pings; those of this project ping every 30 s."""


class ApiServer:
    """The server of one API process, with its health."""

    def __init__(self, config: Config, service: JobService, interceptors: Sequence[Around]) -> None:
        """Binds the address; nothing is served yet.

        Raises:
            CannotStart: a certificate cannot be used, or the address not be bound.
        """
        self._server = aio.server(interceptors=list(interceptors), options=_options(config))
        self._health = health_aio.HealthServicer()
        job_service_pb2_grpc.add_JobServiceServicer_to_server(service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if config.api.reflection:
            _add_reflection(self._server)
        try:
            self._server.add_secure_port(config.listen, _credentials(Path(config.certs_dir)))
        except RuntimeError as error:
            raise CannotStart(f"cannot listen on {config.listen}: {error}") from error

    async def start(self) -> None:
        """Serves, and says so to those who ask for its health."""
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._server.start()
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    async def drain(self) -> None:
        """Says for good that nothing new is served; calls under way go on."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Takes no more calls, and ends those under way after `grace` seconds."""
        await self._server.stop(grace)

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for service in ("", SERVICE):
            await self._health.set(service, status)


def _options(config: Config) -> list[tuple[str, int]]:
    return [
        # The supervisor holds the port for all API processes (supervisor/port.py).
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", 512 * 1024),
        ("grpc.max_send_message_length", 4 * 1024 * 1024),
        ("grpc.max_metadata_size", 1024 * 1024),
        ("grpc.keepalive_time_ms", config.api.keepalive * 1000),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_SECONDS * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", _LEAST_PING_INTERVAL_SECONDS * 1000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _LEAST_PING_INTERVAL_SECONDS * 1000),
    ]


def _credentials(certs: Path) -> grpc.ServerCredentials:
    try:
        key, chain, authority = (
            (certs / name).read_bytes() for name in ("server-key.pem", "server.pem", "ca.pem")
        )
    except OSError as error:
        raise CannotStart(f"{error.filename}: {error.strerror}; run `jobworkerd certs init`") from error
    return grpc.ssl_server_credentials([(key, chain)], root_certificates=authority, require_client_auth=True)


def _add_reflection(server: aio.Server) -> None:
    """Serves reflection under both names; the messages of v1 are those of v1alpha."""
    names = [SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name]
    names += ["grpc.reflection.v1.ServerReflection", reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server)
    servicer = reflection.aio.ReflectionServicer(service_names=names)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    methods = {"ServerReflectionInfo": handler}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.reflection.v1.ServerReflection", methods),)
    )
