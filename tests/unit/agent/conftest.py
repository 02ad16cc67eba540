"""The log of the agent, which the tests read instead of stderr."""

from collections.abc import Iterator

import pytest
import structlog
from structlog.typing import EventDict


@pytest.fixture(autouse=True)
def log() -> Iterator[list[EventDict]]:
    """Return the lines that the agent has logged in this test."""
    with structlog.testing.capture_logs() as lines:
        yield lines
