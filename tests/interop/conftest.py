"""The servers of the interop scenarios, and the matrix that is printed at the end."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from live import Server, make_certificates
from tests.interop import matrix
from tests.interop.clients.registry import ClientKind
from tests.interop.places import BIN
from tests.interop.stage import Drivers, Servers, Stage


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The servers, for all scenarios of all clients."""
    certs, strangers = (make_certificates(BIN, tmp_path_factory.mktemp("certs")) for _ in range(2))
    small = {
        "JOBWORKERD_MAX_JOBS": "1",
        "JOBWORKERD_LOG_MAX_BYTES": str(16 << 20),
        "JOBWORKERD_LOG_STALL_TIMEOUT": "1",
    }
    with (
        Server.started(BIN, certs, tmp_path_factory.mktemp("usual")) as usual_server,
        Server.started(BIN, certs, tmp_path_factory.mktemp("small"), **small) as small_server,
    ):
        yield Servers(usual_server, small_server, certs, strangers)


@pytest.fixture(scope="session")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drivers]:
    """The running clients."""
    with contextlib.ExitStack() as stack:
        yield Drivers(tmp_path_factory.mktemp("drivers"), stack)


@pytest.fixture
def stage(servers: Servers, drivers: Drivers) -> Callable[[ClientKind], Stage]:
    """Returns the stage of a client."""
    return lambda kind: Stage(kind, servers, drivers)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints who played what, and how it came out."""
    cells = {}
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.getreports(outcome):
            if cell := dict(getattr(report, "user_properties", ())).get("interop"):
                cells[cell] = outcome
    if cells:
        terminalreporter.section("interop")
        terminalreporter.write(matrix.render(cells))
