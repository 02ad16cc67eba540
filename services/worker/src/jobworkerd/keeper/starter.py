"""Starts supervisors, at once or after a delay that grows as long as none of them serves."""

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from jobworkerd.keeper.children import Children
from jobworkerd.keeper.connection import Connection
from jobworkerd.keeper.descriptors import all_descriptors
from jobworkerd.keeper.reload import SETTINGS_VARIABLE, SOCKET_VARIABLE

_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
_FIRST_BACKOFF_SECONDS = 0.05
_LAST_BACKOFF_SECONDS = 5.0


class Starter:
    """The owner of the settings with which supervisors start."""

    def __init__(
        self, settings: int, children: Children, connect: Callable[[socket.socket, int], Connection]
    ) -> None:
        """`settings` is the descriptor of the settings. `connect` returns the connection to a supervisor with
        this PID.
        """
        self.settings = settings
        self.due_at: float | None = 0.0
        """The time of the next start; None if no start is due."""
        self._children = children
        self._connect = connect
        self._backoff = 0.0

    def later(self) -> None:
        """Let a start be due after the delay."""
        self.due_at = time.monotonic() + self._backoff
        self._backoff = min(max(2 * self._backoff, _FIRST_BACKOFF_SECONDS), _LAST_BACKOFF_SECONDS)

    def served(self, supervisor: Connection) -> None:
        """Start later supervisors without a delay, and with the settings of one that serves."""
        self._backoff = 0.0
        if supervisor.settings is not None:
            os.close(self.settings)
            self.settings, supervisor.settings = supervisor.settings, None

    def start(self) -> Connection | None:
        """Start a supervisor with the current settings; return None if the host is exhausted."""
        argv = [sys.executable, "-P", "-m", "jobworkerd.supervisor"]
        return self._start([*argv, "--config-fd", "{0}", "--keeper-fd", "{1}"])

    def start_successor(self, arguments: Sequence[str]) -> Connection | None:
        """Start a supervisor that reads its settings; return None if the host is exhausted.

        `arguments` are those of `jobworkerd`.
        """
        argv = [sys.executable, "-P", "-m", "jobworkerd", *arguments]
        argv = [each.replace("{", "{{").replace("}", "}}") for each in argv]
        return self._start(argv, {SETTINGS_VARIABLE: "{0}", SOCKET_VARIABLE: "{1}"})

    def _start(self, argv: list[str], variables: Mapping[str, str] = _NO_VARIABLES) -> Connection | None:
        """`{0}` stands for the descriptor of the settings, `{1}` for that of the socket, also in
        `variables`.
        """
        try:
            with all_descriptors():
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:
            return None
        with theirs:
            try:
                pid = self._children.spawn(argv, [self.settings, theirs.fileno()], variables)
            except OSError:
                ours.close()
                return None
        return self._connect(ours, pid)
