"""The connection: its target, its certificates, and the channel that they make."""

import contextlib
import ipaddress
from collections.abc import AsyncIterator
from pathlib import Path

import grpc

from jobworker_cli.context import CredentialFiles, Settings
from jobworker_cli.errors import CliError
from jobworker_cli.output import say

__all__ = ["open_channel"]

DEFAULT_PORT = 50051

CERTS_HINT = (
    "set --certs (JOBWORKER_CERTS) to the folder with ca.pem, admin.pem and admin-key.pem, "
    "or --ca, --cert and --key"
)

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


@contextlib.asynccontextmanager
async def open_channel(settings: Settings) -> AsyncIterator[grpc.aio.Channel]:
    """Opens a channel for as long as the context lasts; it connects with the first call.

    Raises:
        CliError: a certificate file cannot be read, or the server's address is none.
    """
    options: list[tuple[str, int | str]] = list(OPTIONS)
    if settings.server_name:
        options.append(("grpc.ssl_target_name_override", settings.server_name))
    host, target = _split(settings.server)
    if _is_loopback(host):
        # gRPC asks https_proxy for everything; a proxy elsewhere cannot know this machine's loopback.
        options.append(("grpc.enable_http_proxy", 0))
    async with grpc.aio.secure_channel(target, _credentials(settings.files), options=options) as channel:
        yield channel


def _split(server: str) -> tuple[str, str]:
    """Returns the host and gRPC's target; the port may be left out, an IPv6 address wants brackets."""
    host, colon, port = server.rpartition(":")
    if not colon or server.endswith("]"):
        host, port = server, str(DEFAULT_PORT)
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise CliError(
            f"the server's address {server!r} is not HOST:PORT",
            hint="set --server (JOBWORKER_SERVER), for example localhost:50051 or [::1]:50051",
        )
    return host.strip("[]"), f"{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _credentials(files: CredentialFiles) -> grpc.ChannelCredentials:
    ca, cert, key = _read(files.ca), _read(files.cert), _read(files.key)
    if files.key.stat().st_mode & 0o077:
        say(f"warning: {files.key} can be read by others; cure: chmod 600 {files.key}")
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise CliError(f"there is no certificate file {file}", hint=CERTS_HINT) from None
    except OSError as error:
        raise CliError(
            f"cannot read the certificate file {file}: {error.strerror}", hint=CERTS_HINT
        ) from error
