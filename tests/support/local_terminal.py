"""A pseudoterminal in which a command runs."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

__all__ = ["LocalTerminal", "until_size"]

WITHIN_SECONDS = 30


def until_size(rows: int, columns: int) -> str:
    """Return a shell command that waits for the size of its terminal.

    Keys can reach a program before the size that the window had when they were typed: any thread of the
    client can get SIGWINCH.
    """
    return f'until [ "$(stty size)" = "{rows} {columns}" ]; do sleep 0.1; done'


class LocalTerminal:
    """The master of a pseudoterminal, and the command that runs in it.

    The command leads its own session, so that it is the foreground of the terminal.
    """

    def __init__(self, argv: Sequence[str | Path], env: Mapping[str, str]) -> None:
        self.master, self.slave = pty.openpty()
        self._ends = contextlib.ExitStack()
        for end in (self.master, self.slave):
            self._ends.callback(os.close, end)
        self.resize(100, 30)
        self.modes = termios.tcgetattr(self.slave)
        self.output = b""
        command: list[str | Path] = ["setsid", "--ctty", *argv]
        self.process = subprocess.Popen(
            command, stdin=self.slave, stdout=self.slave, stderr=self.slave, env={**env, "TERM": "xterm"}
        )

    @property
    def is_raw(self) -> bool:
        """Whether each key goes to the command, including Ctrl-C."""
        return not termios.tcgetattr(self.slave)[3] & termios.ISIG

    def shows(self, text: bytes) -> bytes:
        """Wait until the output contains a text; return the output before, and forget both."""
        deadline = time.monotonic() + WITHIN_SECONDS
        while text not in self.output:
            readable, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
            assert readable, f"no {text!r} in {self.output!r}"
            self.output += os.read(self.master, 65_536)
        before, _, self.output = self.output.partition(text)
        return before

    def type(self, keys: bytes) -> None:
        """Type keys."""
        while keys:
            keys = keys[os.write(self.master, keys) :]

    def resize(self, columns: int, rows: int) -> None:
        """Change the size, which sends SIGWINCH to the command."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def ended(self) -> int:
        """Return the exit code. The modes of the terminal are restored."""
        code = self.process.wait(WITHIN_SECONDS)
        assert termios.tcgetattr(self.slave) == self.modes
        return code

    def hang_up(self) -> None:
        """Close both ends, as a closed window does."""
        self._ends.close()

    def __enter__(self) -> Self:
        """Return the terminal."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the command and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._ends.close()
