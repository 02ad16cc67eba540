"""What a channel to a server is made of, for either of gRPC's two kinds of it."""

import ipaddress
from dataclasses import dataclass

import grpc

from jobworker_client.credentials import read_credentials
from jobworker_client.target import Target

__all__ = ["ChannelParts", "channel_parts"]

# A server that is gone without a word is noticed after 40 s. Pings are sent only while a call is open:
# servers end connections that are pinged for nothing (GOAWAY too_many_pings).
# Messages carry up to 256 KiB of output; 8 MiB is room for a page of 1,000 jobs with long commands.
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # With grpcio 1.85 it is this bound (default 60 s) that ends a connection whose peer is silent.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 8 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


@dataclass(frozen=True)
class ChannelParts:
    """The arguments of `grpc.secure_channel` and of `grpc.aio.secure_channel`."""

    target: str
    credentials: grpc.ChannelCredentials
    options: tuple[tuple[str, int | str], ...]


def channel_parts(target: Target) -> ChannelParts:
    """Reads the files and returns what a channel is made of; it connects with its first call.

    Raises:
        AddressInvalid: `server` is not an address.
        CertificateUnusable: a file cannot be read or used, or the key is another certificate's.
    """
    host, port = target.address()
    options: list[tuple[str, int | str]] = list(OPTIONS)
    if target.server_name:
        options.append(("grpc.ssl_target_name_override", target.server_name))
    if _is_loopback(host):
        # gRPC asks https_proxy for everything; a proxy elsewhere cannot know this machine's loopback.
        options.append(("grpc.enable_http_proxy", 0))
    bracketed = f"[{host}]" if ":" in host else host
    return ChannelParts(f"{bracketed}:{port}", read_credentials(target), tuple(options))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
