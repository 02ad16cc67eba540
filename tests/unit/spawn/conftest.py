"""Fixtures of the tests of spare processes."""

from collections.abc import Iterator

import pytest

from jobworkerd.spawn.spare_pool import SparePool
from tests.unit.spawn.spare_runs import SETUP


@pytest.fixture
def pool() -> Iterator[SparePool]:
    pool = SparePool(SETUP)
    yield pool
    pool.close()
