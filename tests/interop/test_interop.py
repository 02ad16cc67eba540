"""Every client, every scenario, one server: each cell of the matrix that can be played is a test."""

from collections.abc import Callable

import pytest

from tests.interop.clients.registry import CLIENTS, Ability, ClientKind
from tests.interop.scenarios.table import SCENARIOS, Scenario
from tests.interop.stage import Stage

CELLS = [
    pytest.param(kind, scenario, id=f"{kind.name}-{scenario.name}")
    for kind in CLIENTS
    for scenario in SCENARIOS
    if not scenario.obstacle(kind)
]


@pytest.mark.parametrize(("kind", "scenario"), CELLS)
def test_interop(
    kind: ClientKind,
    scenario: Scenario,
    stage: Callable[[ClientKind], Stage],
    record_property: Callable[[str, object], None],
) -> None:
    record_property("interop", (kind.name, scenario.name))
    scenario.play(stage(kind))


def test_only_programs_without_a_client_of_ours_are_excused() -> None:
    excused = {(kind.name, ability) for kind in CLIENTS for ability in kind.lacks}
    assert excused == {("grpcurl", Ability.RESUME), ("buf curl", Ability.RESUME)}
