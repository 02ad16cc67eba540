"""A plugin of pytest that selects the contract tests which apply to a gateway. test_contract.py loads it."""

import pytest

from tests.cluster.contract_table import LEFT_OUT


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that do not use the shared server, and those in the table."""
    left_out = [item for item in items if not _applies(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _applies(item: pytest.Item) -> bool:
    fixtures: list[str] = getattr(item, "fixturenames", [])
    test = item.nodeid.removeprefix("tests/contract/")
    excepted = any(test.startswith(each.tests) for each in LEFT_OUT)
    return "server" in fixtures and "own_server" not in fixtures and not excepted
