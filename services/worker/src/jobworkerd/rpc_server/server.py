"""Builds the gRPC server: options, services and listen address."""

import resource
import socket
from collections.abc import Sequence

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2_grpc

from jobworkerd.config import ApiConfig
from jobworkerd.rpc_server.bounds import MAX_REQUEST_BYTES
from jobworkerd.rpc_server.health import Health
from jobworkerd.rpc_server.interceptors.server_interceptor import InterceptorChain, ServerInterceptor
from jobworkerd.rpc_server.reflection import add_reflection
from jobworkerd.rpc_server.registration import Service, add_service
from jobworkerd.startup import CannotStart

_KEEPALIVE_ANSWER_MS = 10_000
_CLIENT_PINGS_AT_MOST_EVERY_MS = 5_000
_MAX_RECEIVE_BYTES = 4 * MAX_REQUEST_BYTES
"""gRPC rejects a larger message without our error details. The default ARG_MAX of Linux is not larger,
so a user of the command line always gets the details."""
_MAX_SEND_BYTES = 4 * 1024 * 1024
_MAX_METADATA_BYTES = 1024 * 1024
_HANDSHAKE_MS = 10_000
_MAX_STREAMS = 1_024
"""Concurrent RPCs per connection; a client queues further ones. gRPC also counts RPCs that a client has reset
and the server has not yet handled. Without the bound, the resets of one client fill the queue of the server,
which then ends calls of all clients with CANCELLED."""


def options(config: ApiConfig, *, shares_port: bool = True) -> list[tuple[str, int]]:
    """Return the options of gRPC (see include/grpc/impl/channel_arg_names.h).

    The server detects a lost client after `keepalive` plus 10 s. Clients ping quiet streams at most every 10
    s, and the server does not disconnect them with `too_many_pings`.
    """
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [
        # The supervisor of a host holds the port, and several API processes can listen on it.
        ("grpc.so_reuseport", int(shares_port)),
        # The other half of the descriptors is for logs, which take two each.
        ("grpc.max_allowed_incoming_connections", min(config.max_connections, max(open_files // 2, 1))),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.max_concurrent_streams", _MAX_STREAMS),
        ("grpc.max_receive_message_length", _MAX_RECEIVE_BYTES),
        ("grpc.max_send_message_length", _MAX_SEND_BYTES),
        ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
        ("grpc.keepalive_time_ms", config.keepalive * 1_000),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_ANSWER_MS),
        # This timeout disconnects a client (tested with 1.85). Its default is one minute.
        ("grpc.http2.ping_timeout_ms", _KEEPALIVE_ANSWER_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", _CLIENT_PINGS_AT_MOST_EVERY_MS),
    ]


def build(
    config: ApiConfig,
    interceptors: Sequence[ServerInterceptor],
    services: Sequence[Service],
    health: Health,
    *,
    shares_port: bool = True,
) -> aio.Server:
    """Return a server with these services, health and reflection, which does not listen yet.

    The first interceptor is outermost. With `shares_port`, other processes of the same user can listen on the
    same port.
    """
    server = aio.server(
        interceptors=[InterceptorChain(interceptors)], options=options(config, shares_port=shares_port)
    )
    for each in services:
        add_service(server, each)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    if config.reflection:
        add_reflection(server, [each.described.full_name for each in services])
    return server


def listen(
    server: aio.Server, address: str, credentials: grpc.ServerCredentials, *, shares_port: bool = True
) -> str:
    """Bind the server and return the address with the actual port.

    Raises:
        CannotStart: the address cannot be bound.
    """
    try:
        port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise CannotStart(f"cannot listen on {address}: {_bind_problem(address, shares_port)}") from error
    return f"{address.rpartition(':')[0]}:{port}"


def _bind_problem(address: str, shares_port: bool) -> str:  # noqa: FBT001 - as in listen
    """Return the reason for a failed bind, which gRPC does not report, by repeating the bind."""
    host, _, port = address.rpartition(":")
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares_port))
            probe.bind(where)
    except OSError as error:
        return error.strerror or str(error)
    return "gRPC refused it; choose another with --listen"
