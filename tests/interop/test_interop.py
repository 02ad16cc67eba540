"""Runs every scenario with every client that supports it."""

from collections.abc import Callable

import pytest

from tests.interop.clients.registry import CLIENTS, Capability, ClientKind
from tests.interop.environment import Environment
from tests.interop.scenarios.table import SCENARIOS, Scenario

CELLS = [
    pytest.param(kind, scenario, id=f"{kind.name}-{scenario.name}")
    for kind in CLIENTS
    for scenario in SCENARIOS
    if not scenario.not_applicable(kind)
]


@pytest.mark.parametrize(("kind", "scenario"), CELLS)
def test_interop(
    kind: ClientKind,
    scenario: Scenario,
    environment: Callable[[ClientKind], Environment],
    record_property: Callable[[str, object], None],
) -> None:
    record_property("interop", (kind.name, scenario.name))
    scenario.run(environment(kind))


def test_only_generic_clients_lack_capabilities() -> None:
    unsupported = {(kind.name, capability) for kind in CLIENTS for capability in kind.unsupported}
    assert unsupported == {(name, each) for name in ("grpcurl", "buf curl") for each in Capability}
