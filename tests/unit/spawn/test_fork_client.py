"""The start of the fork server by a parent that does not answer at once, or refuses."""

import asyncio
import errno
import os
from collections.abc import Sequence

import pytest
from children import reap_all
from host_resources import descriptors, opened_since
from own_children import OwnChildren

from jobworkerd.spawn import spare_pool
from jobworkerd.spawn.spare import discard
from jobworkerd.spawn.spare_pool import SparePool
from tests.unit.spawn.spare_runs import SETUP, child_list


class LateChildren(OwnChildren):
    """Children that start, or cannot be started, when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[tuple[asyncio.Future[int], Sequence[str], list[int]]] = []

    def spawn(self, argv: Sequence[str], descriptors: Sequence[int]) -> "asyncio.Future[int]":
        """Keep the descriptors and return a future that is not done."""
        pid: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((pid, argv, [os.dup(each) for each in descriptors]))
        return pid

    async def answer(self, error: int = 0) -> None:
        """Start the children that wait, or refuse them with an errno."""
        waiting, self._waiting = self._waiting, []
        for pid, argv, copies in waiting:
            if error:
                pid.set_exception(OSError(error, os.strerror(error)))
            else:
                pid.set_result(await super().spawn(argv, copies))
            for each in copies:
                os.close(each)


@pytest.fixture
def late() -> LateChildren:
    return LateChildren()


async def test_take_waits_for_the_parent_without_blocking(late: LateChildren) -> None:
    pool = SparePool(SETUP, late)
    taking = asyncio.create_task(pool.take())
    await asyncio.sleep(0)
    assert not taking.done()
    await late.answer()
    discard(await taking, late)
    pool.close()
    reap_all(late)


async def test_take_reports_that_the_parent_refuses(late: LateChildren) -> None:
    before, open_files = child_list(), descriptors()
    pool = SparePool(SETUP, late)
    taking = asyncio.create_task(pool.take())
    await asyncio.sleep(0)
    await late.answer(errno.ENOMEM)
    with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)):
        await taking
    # Later requests do not fail because of the earlier fork server.
    taking = asyncio.create_task(pool.take())
    for _ in range(9):
        await asyncio.sleep(0)
        await late.answer()
    discard(await taking, late)
    pool.close()
    reap_all(late)
    assert child_list() == before
    assert not opened_since(open_files)


async def test_take_reports_a_parent_that_does_not_answer(
    late: LateChildren, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spare_pool, "_TIMEOUT_SECONDS", 0.01)
    before, open_files = child_list(), descriptors()
    pool = SparePool(SETUP, late)
    with pytest.raises(BlockingIOError, match="the main process of the server does not answer"):
        await pool.take()
    pool.close()
    await late.answer()
    await asyncio.sleep(0)  # until the fork server that started too late is discarded
    reap_all(late)
    assert child_list() == before
    assert not opened_since(open_files)
