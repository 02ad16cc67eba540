"""`jobworkerd health`: a health probe with a client certificate, for tools that cannot present one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobworkerd.config import listen_address
from jobworkerd.settings.options import with_settings
from jobworkerd.settings.resolve import Settings, SettingsError

if TYPE_CHECKING:
    import grpc

_CLIENT = "viewer"
_TIMEOUT_SECONDS = 4.0
"""Less than the timeout of most probes, so that the reason is reported."""

_ALL_ADDRESSES = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


@with_settings("certs_dir")
def health(
    settings: Settings,
    *,
    service: Annotated[
        str,
        typer.Argument(
            metavar="[SERVICE]",
            help="A gRPC service, limits or certificates. [default: the whole server]",
            show_default=False,
        ),
    ] = "",
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="HOST:PORT",
            help="Address of the server. [default: the port of the setting listen on this host]",
        ),
    ] = None,
) -> None:
    """Check whether the running server serves, with the certificate viewer.pem.

    Prints the status that the server reports. Exits with 0 if it is SERVING, else with 1. Use this command
    as a health probe, because most tools cannot present a client certificate.
    """
    # gRPC is imported here, because `serve` does not need it.
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    address = server or _own_address(settings.config.listen)
    request = health_pb2.HealthCheckRequest(service=service)
    # A proxy from the environment must not get a connection to this host.
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.secure_channel(address, _credentials(Path(settings.config.certs_dir)), options) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=_TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            typer.echo(f"error: {address}: {error.code().name}: {error.details()}", err=True)
            raise typer.Exit(1) from error
    typer.echo(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise typer.Exit(1)


def _own_address(listen: str) -> str:
    """Return the address at which this host reaches a server with this listen address.

    Raises:
        SettingsError: the port is 0, so that only the server knows it.
    """
    host, port = listen_address(listen)
    if port == 0:
        raise SettingsError(f"listen: {listen} selects a free port; name the server's address with --server")
    if host in _ALL_ADDRESSES:
        host = "localhost"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _credentials(directory: Path) -> "grpc.ChannelCredentials":
    import grpc

    return grpc.ssl_channel_credentials(
        root_certificates=(directory / "ca.pem").read_bytes(),
        private_key=(directory / f"{_CLIENT}-key.pem").read_bytes(),
        certificate_chain=(directory / f"{_CLIENT}.pem").read_bytes(),
    )
