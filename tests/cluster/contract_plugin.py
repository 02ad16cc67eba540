"""A plugin of pytest that selects the contract tests which apply to a gateway. test_contract.py loads it."""

import pytest

from tests.cluster.contract_table import LEFT_OUT

ALL = "tests/contract"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that do not use the shared server, and those in the table.

    Raises:
        UsageError: a row of the table leaves out no test, because the test has another name now.
    """
    shared = [item for item in items if _uses_shared_server(item)]
    found = {item: [each for each in LEFT_OUT if _name(item).startswith(each.tests)] for item in shared}
    used = {each for rows in found.values() for each in rows}
    if ALL in config.args and (stale := [each.tests for each in LEFT_OUT if each not in used]):
        raise pytest.UsageError(f"rows of contract_table.py without a test: {stale}")
    left_out = [item for item in items if found.get(item, LEFT_OUT)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _uses_shared_server(item: pytest.Item) -> bool:
    fixtures: list[str] = getattr(item, "fixturenames", [])
    return "server" in fixtures and "own_server" not in fixtures


def _name(item: pytest.Item) -> str:
    return item.nodeid.removeprefix(f"{ALL}/")
