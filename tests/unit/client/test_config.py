"""Tests of the configuration of a connection."""

from pathlib import Path

import pytest

from jobworker_client import Client, ClientConfig, InvalidAddress, InvalidCertificateFile, SyncClient
from jobworker_client.channel import channel_parts

FILES = Path("/nowhere")


def at(server: str) -> ClientConfig:
    """Return the configuration for an address."""
    return ClientConfig(server=server, ca=FILES, cert=FILES, key=FILES)


def test_defaults_without_variables() -> None:
    directory = Path("/opt/job-worker/certs")
    assert ClientConfig.from_env({"JOBWORKER_CA": ""}) == ClientConfig(
        server="localhost:50051",
        ca=directory / "ca.pem",
        cert=directory / "admin.pem",
        key=directory / "admin-key.pem",
    )


def test_variable_of_a_file_overrides_the_directory() -> None:
    environ = {
        "JOBWORKER_SERVER": "jobs.example:1",
        "JOBWORKER_CERTS": "/certs",
        "JOBWORKER_ROLE": "viewer",
        "JOBWORKER_CA": "/etc/ca.pem",
        "JOBWORKER_SERVER_NAME": "worker",
    }
    assert ClientConfig.from_env(environ) == ClientConfig(
        server="jobs.example:1",
        ca=Path("/etc/ca.pem"),
        cert=Path("/certs/viewer.pem"),
        key=Path("/certs/viewer-key.pem"),
        server_name="worker",
    )
    both = ClientConfig.from_env({**environ, "JOBWORKER_CERT": "/c", "JOBWORKER_KEY": "/k"})
    assert (both.cert, both.key) == (Path("/c"), Path("/k"))


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ("localhost", ("localhost", 50_051)),
        ("jobs.example:1", ("jobs.example", 1)),
        ("[::1]:65535", ("::1", 65_535)),
        ("[::1]", ("::1", 50_051)),
    ],
)
def test_address(server: str, address: tuple[str, int]) -> None:
    assert at(server).address() == address


@pytest.mark.parametrize(
    "server", ["", ":1", "a:", "a:b", "a:0", "a:65536", "::1", "::1:50051", "[]:1", "a:-1"]
)
def test_invalid_address_is_refused_with_an_example(server: str) -> None:
    with pytest.raises(InvalidAddress, match=r"is not HOST:PORT, such as localhost:50051"):
        at(server).address()


async def test_client_reports_a_missing_file(certs: Path, tmp_path: Path) -> None:
    for name in ("ca.pem", "admin.pem"):
        (tmp_path / name).write_bytes((certs / name).read_bytes())
    for kind in (Client, SyncClient):
        with pytest.raises(InvalidCertificateFile, match=f"{tmp_path}/admin-key.pem: .* No such file"):
            kind.from_directory(tmp_path)


def test_asyncio_client_needs_a_running_loop(config: ClientConfig) -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        Client(config)


@pytest.mark.parametrize(
    ("server", "proxied"),
    [("localhost:1", False), ("127.0.0.2:1", False), ("[::1]:1", False), ("jobs.example", True)],
)
def test_loopback_is_not_proxied(certs: Path, server: str, *, proxied: bool) -> None:
    parts = channel_parts(ClientConfig.from_directory(certs, server=server))
    assert (("grpc.enable_http_proxy", 0) not in parts.options) is proxied
