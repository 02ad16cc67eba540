"""Wait for SIGINT, SIGTERM and SIGHUP together with a task."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from typing import TypeVar

__all__ = ["SignalQueue", "cancel_and_wait", "catch_signals", "wait_for_signal"]

SignalQueue = asyncio.Queue[signal.Signals]

Result = TypeVar("Result")


@contextlib.contextmanager
def catch_signals() -> Iterator[SignalQueue]:
    """Put each SIGINT, SIGTERM and SIGHUP into a queue while the context lasts.

    An ignored signal stays ignored: a shell starts background jobs with SIGINT ignored, so that Ctrl-C only
    reaches the foreground, and nohup(1) ignores SIGHUP.
    """
    loop = asyncio.get_running_loop()
    queue: SignalQueue = asyncio.Queue()
    caught = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    for number in caught:
        loop.add_signal_handler(number, queue.put_nowait, number)
    try:
        yield queue
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


async def wait_for_signal(task: asyncio.Task[Result], queue: SignalQueue) -> signal.Signals | None:
    """Wait for a signal or the end of the task, whichever is first; None if the task has ended."""
    next_signal = asyncio.create_task(queue.get())
    await asyncio.wait({task, next_signal}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await cancel_and_wait(next_signal)
        return None
    return next_signal.result()


async def cancel_and_wait(task: asyncio.Task[Result]) -> None:
    """Cancel a task and wait for its cleanup; ignore its result."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
