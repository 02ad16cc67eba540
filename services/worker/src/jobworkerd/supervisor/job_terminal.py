"""The terminal of one job: a pseudoterminal (pty(7)) whose master the supervisor and the holder have.

Output goes from the master into the job's stdout pipe, and from there into the log like other output. Both
steps are splice(2), so a kill of the supervisor loses nothing. Some kernels, such as Linux 5.10, cannot
splice from a terminal. The output is then copied into the log, and a kill never loses it silently. Input goes
through the spool, like that of a pipe. The terminal hangs up when the last duplicate of the master is closed.
So a job survives the supervisor.
"""

import asyncio
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from contextlib import suppress

from jobworkerd.exhaustion import is_exhaustion
from jobworkerd.model import Stdin
from jobworkerd.supervisor.holder import Holder
from jobworkerd.supervisor.input_spool import InputSpool
from jobworkerd.supervisor.job_input import Feeder, JobInput
from jobworkerd.supervisor.pump import UNSUPPORTED
from jobworkerd.terminal import Terminal

# include/uapi/asm-generic/ioctls.h
_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441
# include/uapi/asm-generic/termbits.h
_IUTF8 = 0x4000

_OPEN = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
_LINE_ENDS = b"\r\n"
_SPLICE_BYTES = 1 << 20
DRAIN_STEPS = 64
"""Bound on the steps for the rest of the output, if another process writes to the terminal without end."""

_PAUSE_SECONDS = 0.2

_REDRAW_SECONDS = 0.2
"""Time in which a program must read the size. A slower one finds the same size and may not draw."""

Size = tuple[int, int]
"""Columns and rows."""


class JobTerminal(JobInput):
    """The owner of the master, of the spool and of the write end of the stdout pipe, until `close`."""

    _relay: int | None = None
    _copy: Callable[[int], int] | None = None
    _resuming: asyncio.TimerHandle | None = None
    _can_splice = True
    _redraw: tuple[asyncio.TimerHandle, Size] | None = None
    """The end of a redraw, and the size of the terminal without it."""

    def __init__(
        self,
        job_id: str,
        loop: asyncio.AbstractEventLoop,
        holder: Holder,
        on_resize: Callable[[Size], None],
    ) -> None:
        """Start without a terminal; see `open_terminal` and `adopt`. Call `on_resize` before a resize.

        A supervisor that dies between the two then repeats both, because the terminal has the old size.
        """
        super().__init__(job_id, loop, holder, Stdin.OPEN)
        self._on_resize = on_resize

    def open_terminal(self, spare: int, terminal: Terminal) -> None:
        """Create the terminal in the job's own /dev/pts, which the spare process has mounted.

        Raises:
            OSError: the host is exhausted. `close` closes the open descriptors.
        """
        self._spool = InputSpool.create()
        try:
            self._target = os.open(f"/proc/{spare}/root/dev/ptmx", _OPEN | os.O_NONBLOCK)
        except OSError:
            self._spool.close()
            raise
        fcntl.ioctl(self._target, _TIOCSPTLCK, struct.pack("i", 0))
        self._set_size((terminal.columns, terminal.rows))
        self._expect_utf8()

    def _expect_utf8(self) -> None:
        """Let the erase key remove whole characters. LANG of the job is UTF-8."""
        assert self._target is not None
        attributes = termios.tcgetattr(self._target)
        attributes[0] |= _IUTF8
        termios.tcsetattr(self._target, termios.TCSANOW, attributes)

    def open_slave(self) -> int:
        """Open the job's end of the terminal, which the caller closes.

        Raises:
            OSError: the host is exhausted.
        """
        assert self._target is not None
        return fcntl.ioctl(self._target, _TIOCGPTPEER, _OPEN)

    def relay_to(self, stdout: int, copy: Callable[[int], int]) -> None:
        """Move output into the pipe of which `stdout` is the read end.

        `copy` copies output of the master into the log, and returns its length.

        Raises:
            OSError: the host is exhausted.
        """
        if self._target is None:
            return
        self._copy = copy
        # A pipe has no other name. Opening it adds a write end.
        self._relay = os.open(f"/proc/self/fd/{stdout}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._resume_relay()

    def _resume_relay(self) -> None:
        if self._target is not None:
            self._loop.add_reader(self._target, self._move_or_pause)

    def _move_or_pause(self) -> None:
        """Move output. Pause if no process has the slave open: the session can open /dev/tty later."""
        assert self._target is not None
        try:
            self._move()
        except BlockingIOError:
            pass
        except OSError:  # EIO, or the host is exhausted
            self._loop.remove_reader(self._target)
            self._resuming = self._loop.call_later(_PAUSE_SECONDS, self._resume_relay)

    def move(self) -> int:
        """Move output into the pipe or the log, and return its length; 0 without output or room.

        Raises:
            OSError: the host is exhausted; the call can be repeated.
        """
        try:
            return self._move()
        except BlockingIOError:
            return 0
        except OSError as error:
            if is_exhaustion(error):
                raise
            return 0

    def _move(self) -> int:
        if self._target is None or self._relay is None or self._copy is None:
            return 0
        if self._can_splice:
            try:
                return os.splice(self._target, self._relay, _SPLICE_BYTES, flags=os.SPLICE_F_NONBLOCK)
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise
                self._can_splice = False
        return self._copy(self._target)

    def foreground_group(self) -> int:
        """Return the foreground process group, which can have ended; 0 without one."""
        with suppress(OSError):
            if self._target is not None:
                return os.tcgetpgrp(self._target)
        return 0

    def attach(self, input_id: str, *, take_over: bool = False) -> Feeder:  # noqa: ARG002 - as in the base class
        """Become a feeder. The client of the same input replaces its broken connection."""
        for feeder in [each for each in self._feeders if each.input_id == input_id]:
            self._feeders.remove(feeder)
        feeder = Feeder(input_id)
        self._feeders.append(feeder)
        self._wake()
        return feeder

    def detach(self, feeder: Feeder) -> None:
        """Stop feeding. The terminal can grow to the size of the remaining feeders."""
        super().detach(feeder)
        self._apply_size()

    async def end(self, feeder: Feeder, offset: int) -> int:
        """Send the end of file, if the terminal is in canonical mode; see `JobInput.end`.

        A repeated end of the same input has no effect.
        """
        async with self._turn:
            self._check(feeder)
            if self._is_open:
                self._repeated(feeder, offset)
                await self._drained(feeder)
                mark = Feeder(f"{feeder.input_id}/{offset}")
                if self._target is not None and not self.accepted(mark):
                    await self._switch_to(mark)
                    self._spool.append(memoryview(self._end_of_file()))
                    self._send()
            return offset

    async def _drained(self, feeder: Feeder) -> None:
        while self._is_open and self._spool.pending:
            await self._change()
            self._check(feeder)

    def _end_of_file(self) -> bytes:
        """Return the VEOF character, twice after a partial line: the first one only ends that line."""
        assert self._target is not None
        attributes = termios.tcgetattr(self._target)
        if not attributes[3] & termios.ICANON:
            return b""
        character: bytes = attributes[6][termios.VEOF]
        return character if self._spool.last_byte in _LINE_ENDS + character else character * 2

    def resize(self, feeder: Feeder, size: Size, *, redraw: bool = False) -> None:
        """Note the size of a feeder's terminal. With `redraw`, programs also draw again at the same size."""
        feeder.size = size
        if not self._apply_size() and redraw:
            self._start_redraw()

    def _start_redraw(self) -> None:
        """Change the size for a moment: after SIGWINCH, most programs draw only if the size has changed."""
        if self._target is None:
            return
        size = columns, rows = self._size()
        self._set_size((columns, rows - 1 if rows > 1 else rows + 1))
        self._redraw = self._loop.call_later(_REDRAW_SECONDS, self._end_redraw), size

    def _end_redraw(self) -> None:
        if self._redraw:
            timer, size = self._redraw
            timer.cancel()
            self._redraw = None
            self._set_size(size)

    def _apply_size(self) -> bool:
        """Apply the smallest size of all feeders. Return whether the size has changed."""
        sizes = [each.size for each in self._feeders if each.size]
        if not sizes or self._target is None:
            return False
        self._end_redraw()
        size = (min(columns for columns, _ in sizes), min(rows for _, rows in sizes))
        if size == self._size():
            return False
        self._on_resize(size)
        self._set_size(size)
        return True

    def _size(self) -> Size:
        assert self._target is not None
        rows, columns, *_ = struct.unpack("HHHH", fcntl.ioctl(self._target, termios.TIOCGWINSZ, bytes(8)))
        return columns, rows

    def _set_size(self, size: Size) -> None:
        assert self._target is not None
        columns, rows = size
        fcntl.ioctl(self._target, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _unread(self) -> int:
        return 1  # for `_end_of_file`; the kernel copies input into the terminal

    def _refused(self) -> None:
        """Drop the input: no process has the slave open. The output is still in the master."""
        assert self._target is not None
        self._loop.remove_writer(self._target)
        self._spool.discard()
        self._wake()

    def close(self) -> None:
        """Close the master, so that the terminal hangs up."""
        if self._resuming:
            self._resuming.cancel()
        self._end_redraw()
        if self._relay is not None:
            assert self._target is not None
            self._loop.remove_reader(self._target)
            os.close(self._relay)
            self._relay = None
        super().close()
