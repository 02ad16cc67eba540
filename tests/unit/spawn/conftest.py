"""Fixtures of the tests of spare processes."""

from collections.abc import AsyncIterator, Iterator

import pytest
from children import reap_all
from own_children import OwnChildren

from jobworkerd.spawn.spare_pool import SparePool
from tests.unit.spawn.spare_runs import SETUP


@pytest.fixture
def children() -> Iterator[OwnChildren]:
    """The children of this process. The test fails if a discarded child does not end."""
    children = OwnChildren()
    yield children
    reap_all(children)


@pytest.fixture
async def pool(children: OwnChildren) -> AsyncIterator[SparePool]:
    pool = SparePool(SETUP, children)
    yield pool
    pool.close()
