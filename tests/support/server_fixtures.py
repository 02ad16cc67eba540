"""Fixtures for tests of servers: an authority, and the events of the log."""

from collections.abc import Iterator

import pytest
import structlog
from api_server import Authority, Logged


@pytest.fixture(scope="session")
def authority() -> Authority:
    """An authority for all tests."""
    return Authority()


@pytest.fixture
def logged() -> Iterator[Logged]:
    """The events of the log, including values that are bound to the context."""
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        yield lines  # type: ignore[misc]  # a list of mappings, which are dicts
