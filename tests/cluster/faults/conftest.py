"""A ledger for made-up histories."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cluster.faults.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger without a job."""
    with closing(Ledger(1, tmp_path / "journal")) as opened:
        yield opened
