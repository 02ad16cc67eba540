"""The gRPC server: its settings, its services, and the address that it listens on."""

import resource
import socket
from collections.abc import Sequence

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2_grpc

from jobworkerd.api.bounds import MAX_REQUEST_BYTES
from jobworkerd.api.health import Health
from jobworkerd.api.interceptors.server_interceptor import InterceptorChain, ServerInterceptor
from jobworkerd.api.reflection import add_reflection
from jobworkerd.api.registration import add_job_service
from jobworkerd.api.service import JobService
from jobworkerd.config import ApiConfig
from jobworkerd.startup import CannotStart

_KEEPALIVE_ANSWER_MS = 10_000
_CLIENT_PINGS_AT_MOST_EVERY_MS = 5_000
_MAX_RECEIVE_BYTES = 4 * MAX_REQUEST_BYTES
"""What gRPC reads, which refuses more without a reason of ours. No command line on Linux is longer than this
by default (ARG_MAX), so that a user of the command who passes too much gets the reason."""
_MAX_SEND_BYTES = 4 * 1024 * 1024
_MAX_METADATA_BYTES = 1024 * 1024
_HANDSHAKE_MS = 10_000
_MAX_STREAMS = 1_024
"""RPCs in flight per connection; a client queues those beyond. gRPC's core also counts the RPCs that a
client reset and that the server has not looked at yet. Without the bound one client's resets fill the
server's queue, and it drops the calls of all clients as CANCELLED."""


def options(config: ApiConfig) -> list[tuple[str, int]]:
    """Returns gRPC's settings (include/grpc/impl/channel_arg_names.h describes each).

    A client that is gone is noticed after `keepalive` and 10 s more, at the latest. One that pings on
    a quiet stream, as clients do every 10 s or more, is not cut off with `too_many_pings`.
    """
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [
        # The supervisor holds the port, and more than one API process may listen on it.
        ("grpc.so_reuseport", 1),
        # The other half of the descriptors is for the logs that are read, of which each takes two.
        ("grpc.max_allowed_incoming_connections", min(config.max_connections, max(open_files // 2, 1))),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.max_concurrent_streams", _MAX_STREAMS),
        ("grpc.max_receive_message_length", _MAX_RECEIVE_BYTES),
        ("grpc.max_send_message_length", _MAX_SEND_BYTES),
        ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
        ("grpc.keepalive_time_ms", config.keepalive * 1_000),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_ANSWER_MS),
        # The one that a client is cut off by (seen with 1.85); its default is a minute.
        ("grpc.http2.ping_timeout_ms", _KEEPALIVE_ANSWER_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", _CLIENT_PINGS_AT_MOST_EVERY_MS),
    ]


def build(
    config: ApiConfig, interceptors: Sequence[ServerInterceptor], service: JobService, health: Health
) -> aio.Server:
    """Returns a server with all services, outermost interceptor first, that does not listen yet."""
    server = aio.server(interceptors=[InterceptorChain(interceptors)], options=options(config))
    add_job_service(server, service)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    if config.reflection:
        add_reflection(server)
    return server


def listen(server: aio.Server, address: str, credentials: grpc.ServerCredentials) -> str:
    """Binds the server and returns the address with the real port, which 0 stands for any of.

    Raises:
        CannotStart: the address cannot be bound.
    """
    try:
        port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise CannotStart(f"cannot listen on {address}: {_why_not(address)}") from error
    return f"{address.rpartition(':')[0]}:{port}"


def _why_not(address: str) -> str:
    """Returns the reason that gRPC keeps to itself, by trying what it tried."""
    host, _, port = address.rpartition(":")
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            probe.bind(where)
    except OSError as error:
        return error.strerror or str(error)
    return "gRPC refused it; choose another with --listen"
