"""SIGINT and SIGTERM as something that a verb can wait for beside its work."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from typing import TypeVar

__all__ = ["Pressed", "abandon", "caught_signals", "signal_before_end"]

Pressed = asyncio.Queue[signal.Signals]

Result = TypeVar("Result")


@contextlib.contextmanager
def caught_signals() -> Iterator[Pressed]:
    """Puts each SIGINT and SIGTERM into a queue for as long as the context lasts.

    A signal that is ignored stays ignored: a shell starts background jobs with SIGINT ignored, so that
    Ctrl-C is for the foreground alone.
    """
    loop = asyncio.get_running_loop()
    pressed: Pressed = asyncio.Queue()
    wanted = [
        number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN
    ]
    for number in wanted:
        loop.add_signal_handler(number, pressed.put_nowait, number)
    try:
        yield pressed
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)


async def signal_before_end(work: asyncio.Task[Result], pressed: Pressed) -> signal.Signals | None:
    """Waits for a signal or the work's end, whichever is first; None = the work has ended."""
    waiting = asyncio.create_task(pressed.get())
    await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        await abandon(waiting)
        return None
    return waiting.result()


async def abandon(task: asyncio.Task[Result]) -> None:
    """Cancels a task and waits until it has cleaned up; how it ended is of no interest."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
