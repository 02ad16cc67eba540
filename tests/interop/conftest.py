"""The servers and clients of the interop scenarios, and the matrix in pytest's summary."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from live import Server, make_certificates
from tests.interop import matrix
from tests.interop.clients.registry import ClientKind
from tests.interop.environment import Drivers, Environment, Servers
from tests.interop.paths import BIN


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The servers, shared by all scenarios and clients."""
    certs, other_certs = (make_certificates(BIN, tmp_path_factory.mktemp("certs")) for _ in range(2))
    limits = {
        "JOBWORKERD_MAX_JOBS": "1",
        "JOBWORKERD_LOG_MAX_BYTES": str(16 << 20),
        "JOBWORKERD_LOG_STALL_TIMEOUT": "1",
    }
    with (
        Server.started(BIN, certs, tmp_path_factory.mktemp("default")) as default,
        Server.started(BIN, certs, tmp_path_factory.mktemp("limited"), **limits) as limited,
    ):
        yield Servers(default, limited, certs, other_certs)


@pytest.fixture(scope="session")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drivers]:
    """The running drivers."""
    with contextlib.ExitStack() as stack:
        yield Drivers(tmp_path_factory.mktemp("drivers"), stack)


@pytest.fixture
def environment(servers: Servers, drivers: Drivers) -> Callable[[ClientKind], Environment]:
    """Return the environment of a client."""
    return lambda kind: Environment(kind, servers, drivers)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the matrix of the cells that ran."""
    outcomes = {}
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.getreports(outcome):
            if cell := dict(getattr(report, "user_properties", ())).get("interop"):
                outcomes[cell] = outcome
    if outcomes:
        terminalreporter.section("interop")
        terminalreporter.write(matrix.render(outcomes))
