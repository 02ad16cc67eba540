"""The state of a followed job: output wakes its readers, but not the clients that wait for its end."""

import asyncio
import types
from collections.abc import Coroutine, Generator

import pytest
from msgspec.structs import replace

from jobworkerd.errors import SupervisorUnavailable
from jobworkerd.protocol.job_view import JobView
from jobworkerd.terminal import TerminalResize
from sample_jobs import FINAL, RUNNING


class Steps:
    """Counts how often a coroutine waits."""

    def __init__(self) -> None:
        self.count = 0

    @types.coroutine
    def run(self, work: Coroutine[object, None, None]) -> Generator[object, None, None]:
        """Run a coroutine."""
        try:
            while True:
                waited_for = work.send(None)
                self.count += 1
                yield waited_for
        except StopIteration:
            return


async def test_output_does_not_wake_the_waiters() -> None:
    view, steps = JobView(RUNNING), Steps()
    waiter = asyncio.ensure_future(steps.run(view.ended()))
    for size in range(10, 20):
        await asyncio.sleep(0)
        view.update(size, None)
    await asyncio.sleep(0)
    assert steps.count == 1
    view.update(20, FINAL)
    await waiter


async def test_the_final_job_has_the_last_resize() -> None:
    view, last = JobView(RUNNING), TerminalResize(90, 30, log_offset=5)
    view.update(20, replace(FINAL, terminal_resizes=(last,)))
    async with asyncio.timeout(1):
        assert [*await view.resized(TerminalResize(80, 24))] == [last]


async def test_a_failure_ends_readers_and_waiters_now_and_later() -> None:
    view = JobView(RUNNING)
    tasks: list[asyncio.Task[object]] = [
        asyncio.create_task(view.ended()),
        asyncio.create_task(view.changed(3)),
        asyncio.create_task(view.resized(TerminalResize(80, 24))),
    ]
    await asyncio.sleep(0)
    view.fail(SupervisorUnavailable())
    for each in tasks:
        with pytest.raises(SupervisorUnavailable):
            await each
    with pytest.raises(SupervisorUnavailable):
        await view.ended()


async def test_viewers_get_each_resize_once() -> None:
    view, known = JobView(RUNNING), TerminalResize(80, 24)
    waiting = asyncio.create_task(view.resized(known))
    view.update(5, None)
    await asyncio.sleep(0)
    assert not waiting.done()
    first, second = TerminalResize(90, 24, 5), TerminalResize(91, 24, 7)
    view.update(5, None, first)
    view.update(7, None, second)
    view.update(8, None, second)
    assert await waiting == [first, second]
    waiting = asyncio.create_task(view.resized(second))
    await asyncio.sleep(0)
    assert not waiting.done()
    replaced = TerminalResize(92, 24, 7)
    view.update(8, None, replaced)
    assert await waiting == [replaced]
