"""Arguments of a gRPC channel, for asyncio and for threads."""

import ipaddress
from dataclasses import dataclass

import grpc

from jobworker_client.config import ClientConfig
from jobworker_client.credentials import read_credentials

__all__ = ["ChannelParts", "channel_parts"]

# Keepalive detects a dead connection after 40 s. Pings are sent only while a call is open, because servers
# close connections that send needless pings (GOAWAY too_many_pings).
# A message has up to 256 KiB of output. A page of 1,000 jobs with long commands fits into 8 MiB.
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # grpcio 1.85 closes a silent connection after this timeout (default 60 s), not the keepalive timeout.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 8 * 1024 * 1024),
    # Less than the delays of the retries, so that each retry can find a restarted server.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)


@dataclass(frozen=True)
class ChannelParts:
    """The arguments of `grpc.secure_channel` and `grpc.aio.secure_channel`."""

    target: str
    credentials: grpc.ChannelCredentials
    options: tuple[tuple[str, int | str], ...]


def channel_parts(config: ClientConfig, credentials: grpc.ChannelCredentials | None = None) -> ChannelParts:
    """Read the PEM files and return the arguments of a channel, which connects on the first call.

    With `credentials`, which an earlier call has returned, no file is read.

    Raises:
        InvalidAddress: `server` is not an address.
        InvalidCertificateFile: a file cannot be read or used, or the key belongs to another certificate.
    """
    host, port = config.address()
    options: list[tuple[str, int | str]] = list(OPTIONS)
    if config.server_name:
        options.append(("grpc.ssl_target_name_override", config.server_name))
    if _is_loopback(host):
        # gRPC uses https_proxy for every address, but a proxy on another machine cannot reach this loopback.
        options.append(("grpc.enable_http_proxy", 0))
    bracketed = f"[{host}]" if ":" in host else host
    return ChannelParts(f"{bracketed}:{port}", credentials or read_credentials(config), tuple(options))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
