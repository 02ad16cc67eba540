"""A live server over mTLS: started by the tests, or an external one named by JOBWORKER_SERVER.

With JOBWORKER_SERVER, JOBWORKER_CERTS is a directory in the layout of `jobworkerd certs init`. Contract
tests use only the stubs and the commands and never import the server.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from live import GUEST, Server, make_certificates, seen_by_jobs
from live_client import Client, client

BIN = Path(sys.executable).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests that would step this host's clock, and tests that need root for a plain user.

    They still run in the guest, which has its own kernel and runs the tests as root.
    """
    left_out = [item for item in items if _needs_a_guest(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _needs_a_guest(item: pytest.Item) -> bool:
    own_kernel, root = item.get_closest_marker("own_kernel"), item.get_closest_marker("root")
    return bool((own_kernel and not GUEST) or (root and os.geteuid() != 0))


@pytest.fixture(scope="session", autouse=True)
def default_signals() -> None:
    """Reset signals that nohup(1) or a shell's `&` ignore, since servers would inherit that."""
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of certificates for the CA, the server, an admin and a viewer."""
    given = os.environ.get("JOBWORKER_CERTS")
    return Path(given) if given else make_certificates(BIN, tmp_path_factory.mktemp("certs"))


@pytest.fixture
def job_files() -> Iterator[Path]:
    """A directory for files that jobs read; each job has a private /tmp."""
    with seen_by_jobs() as directory:
        yield directory


@pytest.fixture(scope="session")
def server(certs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that most tests share."""
    if address := os.environ.get("JOBWORKER_SERVER"):
        yield Server(address=address, certs=certs)
        return
    with Server.started(BIN, certs, tmp_path_factory.mktemp("state")) as started:
        yield started


@pytest.fixture
def own_server(certs: Path, tmp_path: Path) -> Iterator[Server]:
    """A server for one test that stops or breaks it."""
    with Server.started(BIN, certs, tmp_path / "state") as started:
        yield started


@pytest.fixture
async def admin(server: Server) -> AsyncIterator[Client]:
    """A client with the Admin role."""
    async with client(server, "admin") as connected:
        yield connected


@pytest.fixture
async def viewer(server: Server) -> AsyncIterator[Client]:
    """A client with the Viewer role."""
    async with client(server, "viewer") as connected:
        yield connected
