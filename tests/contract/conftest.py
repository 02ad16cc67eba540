"""A live server over mTLS: one that these tests start, or the one that JOBWORKER_SERVER names.

With JOBWORKER_SERVER the certificates are in the folder JOBWORKER_CERTS, as `jobworkerd certs init`
makes them. Nothing here imports the server: the stubs and the commands are all that the tests know.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from live import GUEST, Client, Server, client, make_certificates, seen_by_jobs

BIN = Path(sys.executable).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what would step this host's clock, and what a plain user cannot do.

    A guest has a kernel of its own, and there these tests are root: they run there in any case.
    """
    left_out = [item for item in items if _needs_a_guest(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _needs_a_guest(item: pytest.Item) -> bool:
    own_kernel, root = item.get_closest_marker("own_kernel"), item.get_closest_marker("root")
    return bool((own_kernel and not GUEST) or (root and os.geteuid() != 0))


@pytest.fixture(scope="session", autouse=True)
def default_signals() -> None:
    """Undoes what nohup(1) and a shell's `&` ignore: servers inherit it, and then ignore it, too."""
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificates of the authority, the server, an admin and a viewer."""
    given = os.environ.get("JOBWORKER_CERTS")
    return Path(given) if given else make_certificates(BIN, tmp_path_factory.mktemp("certs"))


@pytest.fixture
def job_files() -> Iterator[Path]:
    """A directory for files that jobs read; their /tmp is their own."""
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
    """A server for one test that stops it or breaks a part of it."""
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
