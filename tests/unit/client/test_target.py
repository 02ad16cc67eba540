"""Where the server is, and which files are ours."""

from pathlib import Path

import pytest

from jobworker_client import AddressInvalid, CertificateUnusable, Client, SyncClient, Target
from jobworker_client.channel import channel_parts

FILES = Path("/nowhere")


def at(server: str) -> Target:
    """A server at an address."""
    return Target(server=server, ca=FILES, cert=FILES, key=FILES)


def test_without_variables_there_are_defaults() -> None:
    folder = Path("/opt/job-worker/certs")
    assert Target.from_env({"JOBWORKER_CA": ""}) == Target(
        server="localhost:50051",
        ca=folder / "ca.pem",
        cert=folder / "admin.pem",
        key=folder / "admin-key.pem",
    )


def test_every_variable_counts_and_a_file_goes_before_the_folder() -> None:
    environ = {
        "JOBWORKER_SERVER": "jobs.example:1",
        "JOBWORKER_CERTS": "/certs",
        "JOBWORKER_ROLE": "viewer",
        "JOBWORKER_CA": "/etc/ca.pem",
        "JOBWORKER_SERVER_NAME": "worker",
    }
    assert Target.from_env(environ) == Target(
        server="jobs.example:1",
        ca=Path("/etc/ca.pem"),
        cert=Path("/certs/viewer.pem"),
        key=Path("/certs/viewer-key.pem"),
        server_name="worker",
    )
    both = Target.from_env({**environ, "JOBWORKER_CERT": "/c", "JOBWORKER_KEY": "/k"})
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
def test_an_address(server: str, address: tuple[str, int]) -> None:
    assert at(server).address() == address


@pytest.mark.parametrize(
    "server", ["", ":1", "a:", "a:b", "a:0", "a:65536", "::1", "::1:50051", "[]:1", "a:-1"]
)
def test_what_is_no_address_is_refused_with_an_example(server: str) -> None:
    with pytest.raises(AddressInvalid, match=r"is not HOST:PORT, such as localhost:50051"):
        at(server).address()


async def test_a_missing_file_is_told_when_the_client_is_made(certs: Path, tmp_path: Path) -> None:
    for name in ("ca.pem", "admin.pem"):
        (tmp_path / name).write_bytes((certs / name).read_bytes())
    for kind in (Client, SyncClient):
        with pytest.raises(CertificateUnusable, match=f"{tmp_path}/admin-key.pem: .* No such file"):
            kind.from_folder(tmp_path)


def test_a_client_for_asyncio_needs_a_loop(target: Target) -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        Client(target)


@pytest.mark.parametrize(
    ("server", "proxied"),
    [("localhost:1", False), ("127.0.0.2:1", False), ("[::1]:1", False), ("jobs.example", True)],
)
def test_no_proxy_is_asked_for_this_machine(certs: Path, server: str, *, proxied: bool) -> None:
    parts = channel_parts(Target.from_folder(certs, server=server))
    assert (("grpc.enable_http_proxy", 0) not in parts.options) is proxied
