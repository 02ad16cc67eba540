"""The user's terminal while a job's terminal is shown in it."""

import asyncio
import contextlib
import functools
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator
from typing import Self

from jobworker.v1 import job_attach_pb2, job_pb2
from jobworker_cli.output import print_message
from jobworker_cli.stream.earlier_output import EarlierOutput
from jobworker_cli.stream.escapes import Escape, EscapeFilter
from jobworker_cli.stream.follow import copy_stream, open_attached
from jobworker_cli.stream.output_writer import OutputWriter
from jobworker_cli.stream.signals import cancel_and_wait
from jobworker_cli.stream.stdin import read_stdin
from jobworker_cli.stream.terminal_queries import QueryFilter
from jobworker_cli.stream.typed_keys import TypedKeys
from jobworker_client import AttachedStream, Chunk, Client

__all__ = ["copy_terminal", "terminal_size"]

_STDIN = 0
_DEFAULT_SIZE = 80, 24
_ACCEPT_SECONDS = 1.0
"""How long an escape sequence waits for the server to accept the keys before it. The server can be away."""


def terminal_size() -> tuple[int, int]:
    """Return the columns and rows of the terminal of stdin, stdout or stderr, or 80 and 24."""
    for descriptor in (_STDIN, 1, 2):
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(descriptor)
            if size.columns and size.lines:
                return size
    return _DEFAULT_SIZE


class LocalTerminal:
    """The terminal of stdin and stdout in raw mode: each key goes to the job."""

    def __init__(self, detach_keys: str, earlier: EarlierOutput) -> None:
        self._loop = asyncio.get_running_loop()
        self._at_line_start = True
        self._escapes = EscapeFilter(detach_keys)
        self._typed = TypedKeys()
        self._detach_keys = detach_keys
        self._modes = earlier.modes
        self._live_from = earlier.end
        self._queries = QueryFilter()
        self._saved = termios.tcgetattr(_STDIN)
        self._stream: AttachedStream | None = None

    def __enter__(self) -> Self:
        """Enter raw mode, and set the modes of the job's terminal."""
        self._add_handlers()
        self._enter()
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the modes."""
        self._restore()
        self._remove_handlers()

    def _add_handlers(self) -> None:
        self._loop.add_signal_handler(signal.SIGWINCH, self._resized)
        self._loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        self._loop.add_signal_handler(signal.SIGCONT, self._continued)

    def _remove_handlers(self) -> None:
        for number in (signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT):
            self._loop.remove_signal_handler(number)

    def _enter(self) -> None:
        with contextlib.suppress(termios.error):  # the terminal has hung up
            tty.setraw(_STDIN, termios.TCSADRAIN)
        self._write(self._modes.set_again())

    def _restore(self) -> None:
        """Restore the modes of the terminal that this command or the job has changed."""
        try:
            self._write(self._modes.reset() + (b"" if self._at_line_start else b"\r\n"))
            self._at_line_start = True
        finally:
            with contextlib.suppress(termios.error):  # the terminal has hung up
                termios.tcsetattr(_STDIN, termios.TCSADRAIN, self._saved)

    def _write(self, sequences: bytes) -> None:
        """Write to the terminal. It can have hung up, and stdout can be something else."""
        with contextlib.suppress(OSError):
            if sequences and os.isatty(sys.stdout.fileno()):
                os.write(sys.stdout.fileno(), sequences)

    def show(self, stream: AttachedStream) -> None:
        """Report changes of the size to the job of a stream."""
        self._stream = stream

    async def write(self, writer: OutputWriter, message: Chunk) -> None:
        """Write output of the job."""
        if message.offset < self._live_from:
            payload = self._queries.feed(message.payload)
        else:
            payload = self._queries.flush() + message.payload
        if payload:
            self._modes.feed(payload)
            self._at_line_start = payload.endswith(b"\n")
            await writer.write(Chunk(source=message.source, payload=payload))

    async def keys(self) -> AsyncIterator[bytes]:
        """Yield what the user types. It has no end, because an end would end the input of the job."""
        while True:
            yield await self._typed.take()

    async def read_keys(self) -> None:
        """Read what the user types, until the user detaches."""
        async for data in read_stdin():
            for part in self._escapes.feed(data):
                match part:
                    case bytes():
                        await self._typed.put(part)
                    case Escape.HELP:
                        self._print_help()
                    case Escape.SUSPEND:
                        await self._send_keys()
                        self._suspend()
                    case Escape.DETACH:
                        if not await self._send_keys():
                            print_message("jobworker: the last keys that you typed did not reach the job")
                        return
        # The terminal has hung up. The kernel sends SIGHUP only to the leader of the session.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.raise_signal(signal.SIGHUP)
            await asyncio.Event().wait()

    async def _send_keys(self) -> bool:
        """Wait until the server has accepted all keys, and return True; return False if it does not."""
        try:
            async with asyncio.timeout(_ACCEPT_SECONDS):
                if self._stream:
                    await self._stream.wait_accepted(self._typed.total)
        except TimeoutError:
            return False
        return True

    def _print_help(self) -> None:
        keys, start = self._detach_keys, self._detach_keys[0]
        print_message(
            "jobworker: escape sequences, after Enter:",
            f"  {keys}   detach; the job keeps running",
            f"  {start}^Z  suspend this command; `fg` continues it",
            f"  {start}?   this list",
            f"  {start}{start}   the character {start}",
        )

    def _resized(self, *, redraw: bool = False) -> None:
        """Report the size to the job."""
        if self._stream:
            self._stream.resize(*terminal_size(), redraw=redraw)

    def _suspend(self) -> None:
        """Stop this process with the modes restored, until a shell continues it."""
        self._restore()
        # The default action of SIGTSTP does not stop a process that no shell could continue.
        self._remove_handlers()
        signal.raise_signal(signal.SIGTSTP)
        self._add_handlers()
        self._continued()

    def _continued(self) -> None:
        """Enter raw mode again, and let the programs in the terminal draw their screen again."""
        self._enter()
        self._resized(redraw=True)


async def copy_terminal(
    client: Client,
    start: job_attach_pb2.AttachStart,
    writer: OutputWriter,
    detach_keys: str,
    earlier: EarlierOutput,
) -> job_pb2.Job | None:
    """Show the terminal of a job in the user's terminal; return the final job, or None after a detach."""
    with LocalTerminal(detach_keys, earlier) as terminal:
        start.size.columns, start.size.rows = terminal_size()
        stream = open_attached(client, start, terminal.keys())
        terminal.show(stream)
        write = functools.partial(terminal.write, writer)
        copying = asyncio.create_task(copy_stream(stream, write, f"jobworker attach {start.id}"))
        reading = asyncio.create_task(terminal.read_keys())
        try:
            await asyncio.wait({copying, reading}, return_when=asyncio.FIRST_COMPLETED)
            return copying.result() if copying.done() else reading.result()
        finally:
            await cancel_and_wait(reading)
            await cancel_and_wait(copying)
