"""A dashboard on a socket, with a scripted server."""

from collections.abc import AsyncIterator

import pytest

from served_dashboard import Served, serving


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A dashboard that accepts connections."""
    async with serving() as dashboard:
        yield dashboard
