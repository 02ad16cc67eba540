"""The user's terminal while a job's terminal is shown in it."""

import asyncio
import contextlib
import functools
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator

from jobworker.v1 import job_attach_pb2, job_pb2
from jobworker_cli.output import print_message
from jobworker_cli.stream.escapes import Escape, EscapeFilter
from jobworker_cli.stream.follow import copy_stream, open_attached
from jobworker_cli.stream.output_writer import OutputWriter
from jobworker_cli.stream.screen_modes import ScreenModes
from jobworker_cli.stream.signals import cancel_and_wait
from jobworker_cli.stream.stdin import read_stdin
from jobworker_client import AttachedStream, Chunk, Client

__all__ = ["copy_terminal", "terminal_size"]

_STDIN = 0


def terminal_size() -> tuple[int, int]:
    """Return the columns and rows of the terminal of stdin, or 80 and 24 if it has no size."""
    try:
        size = os.get_terminal_size(_STDIN)
    except OSError:
        return 80, 24
    return size.columns or 80, size.lines or 24


class LocalTerminal:
    """The terminal of stdin and stdout in raw mode: each key goes to the job."""

    def __init__(self, detach_keys: str) -> None:
        self.detached = asyncio.Event()
        """Set when the user has detached."""
        self._keys = EscapeFilter(detach_keys)
        self._detach_keys = detach_keys
        self._modes = ScreenModes()
        self._saved = termios.tcgetattr(_STDIN)
        self._stream: AttachedStream | None = None

    def enter(self) -> None:
        """Enter raw mode."""
        tty.setraw(_STDIN, termios.TCSADRAIN)

    def restore(self) -> None:
        """Restore the modes of the terminal that this command or the job has changed."""
        with contextlib.suppress(OSError):
            os.write(sys.stdout.fileno(), self._modes.reset())
        with contextlib.suppress(termios.error):  # the terminal has hung up
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, self._saved)

    def show(self, stream: AttachedStream) -> None:
        """Report changes of the size to the job of a stream."""
        self._stream = stream

    async def write(self, writer: OutputWriter, message: Chunk) -> None:
        """Write output of the job."""
        self._modes.feed(message.payload)
        await writer.write(message)

    async def keys(self) -> AsyncIterator[bytes]:
        """Yield what the user types. It has no end, because an end would end the input of the job."""
        async for data in read_stdin():
            typed, escape = self._keys.feed(data)
            if typed:
                yield typed
            if escape is Escape.DETACH:
                break
            if escape is Escape.HELP:
                self._print_help()
        self.detached.set()
        await asyncio.Event().wait()

    def _print_help(self) -> None:
        keys, start = self._detach_keys, self._detach_keys[0]
        lines = (
            "",
            "jobworker: escape sequences, after Enter:",
            f"  {keys}  detach; the job keeps running",
            f"  {start}?  this list",
            f"  {start}{start}  the character {start}",
        )
        print_message("\r\n".join(lines) + "\r")

    def resized(self) -> None:
        """Report the size to the job."""
        if self._stream:
            self._stream.resize(*terminal_size())

    def suspend(self) -> None:
        """Stop this process with the modes restored, and enter raw mode again when it continues."""
        self.restore()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.enter()
        self.resized()


@contextlib.contextmanager
def local_terminal(detach_keys: str) -> Iterator[LocalTerminal]:
    """Yield the terminal in raw mode, and restore it at the end of the context."""
    loop = asyncio.get_running_loop()
    terminal = LocalTerminal(detach_keys)
    handlers = {signal.SIGWINCH: terminal.resized, signal.SIGTSTP: terminal.suspend}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    terminal.enter()
    try:
        yield terminal
    finally:
        terminal.restore()
        for number in handlers:
            loop.remove_signal_handler(number)


async def copy_terminal(
    client: Client, start: job_attach_pb2.AttachStart, writer: OutputWriter, detach_keys: str
) -> job_pb2.Job | None:
    """Show the terminal of a job in the user's terminal; return the final job, or None after a detach."""
    start.size.columns, start.size.rows = terminal_size()
    with local_terminal(detach_keys) as terminal:
        stream = open_attached(client, start, terminal.keys())
        terminal.show(stream)
        copying = asyncio.create_task(copy_stream(stream, functools.partial(terminal.write, writer)))
        detached = asyncio.create_task(terminal.detached.wait())
        try:
            await asyncio.wait({copying, detached}, return_when=asyncio.FIRST_COMPLETED)
            return copying.result() if copying.done() else None
        finally:
            await cancel_and_wait(detached)
            await cancel_and_wait(copying)
