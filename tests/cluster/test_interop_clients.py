"""Every client library at a gateway: the programs of the interop scenarios, with another address."""

import contextlib
from collections.abc import Callable, Iterator

import psutil
import pytest

from live import Server, make_certificates
from tests.cluster.hosts import BIN, Gateway
from tests.cluster.interop_table import LEFT_OUT
from tests.cluster.whole import Cluster
from tests.interop.clients.registry import CLIENTS, ClientKind
from tests.interop.environment import Drivers, Environment, Result, Servers
from tests.interop.scenarios.table import SCENARIOS, Scenario

CELLS = [
    pytest.param(kind, scenario, id=f"{kind.name}-{scenario.name}")
    for kind in CLIENTS
    if not kind.unsupported
    for scenario in SCENARIOS
    if scenario.name not in LEFT_OUT
]


class GatewayEnvironment(Environment):
    """Clients of one gateway, which stands for both servers of the scenarios."""

    def __init__(self, kind: ClientKind, servers: Servers, drivers: Drivers, gateway: Gateway) -> None:
        super().__init__(kind, servers, drivers)
        self._gateway = gateway

    def restart_default_server(self, *, kill: bool = False) -> None:
        """Kill the gateway, which has no state, and start it again."""
        assert not kill
        self._gateway.service.hold()
        self._gateway.service.release()
        self._gateway.wait_until_serving()

    def over_an_api_process_restart(
        self, script: str, method: str, calls: int, follow: Callable[[str], Result]
    ) -> tuple[str, Result]:
        """Follow a job over a kill of the gateway."""
        return self._over_a_kill(script, method, calls, follow, lambda _: [self._process()])

    def _process(self) -> psutil.Process:
        pid = self._gateway.service.pid
        assert pid
        return psutil.Process(pid)


@pytest.fixture(scope="module")
def servers(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Servers:
    """The gateway as both servers of the scenarios."""
    gateway = cluster.gateway
    server = Server(gateway.server.address, gateway.server.certs, log=gateway.service.log)
    return Servers(server, server, server.certs, make_certificates(BIN, tmp_path_factory.mktemp("other")))


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drivers]:
    """The running drivers."""
    with contextlib.ExitStack() as stack:
        yield Drivers(tmp_path_factory.mktemp("drivers"), stack)


@pytest.mark.parametrize(("kind", "scenario"), CELLS)
def test_a_client_needs_only_the_address_of_a_gateway(
    kind: ClientKind, scenario: Scenario, cluster: Cluster, servers: Servers, drivers: Drivers
) -> None:
    scenario.run(GatewayEnvironment(kind, servers, drivers, cluster.gateway))


def test_the_scenarios_that_do_not_apply_exist() -> None:
    assert LEFT_OUT.keys() <= {scenario.name for scenario in SCENARIOS}
