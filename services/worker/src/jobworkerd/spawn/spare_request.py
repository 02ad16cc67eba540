"""A spare process from its request until it is ready."""

import os
import socket
import subprocess
from dataclasses import dataclass, field

from jobworkerd.spawn import children
from jobworkerd.spawn.readable import readable
from jobworkerd.spawn.spare import REPORT_BYTES, Spare, discard, refused_parts


@dataclass(frozen=True)
class SpareRequest:
    """The request for one spare process: our ends of its pipes and socket, and the PIDs forked for it so far.

    `generation` counts how often the pool had been dropped before because the host had changed.
    """

    fork_server: "subprocess.Popen[bytes]"
    generation: int
    stdout: int
    stderr: int
    orders: socket.socket
    made: list[int] = field(default_factory=list)

    async def ready(self) -> Spare:
        """Waits until the process is ready, and returns it.

        Raises:
            ValueError: the process died, or the fork server before it.
            OSError: the process could not be made.
        """
        while True:
            try:
                report = self.orders.recv(REPORT_BYTES)
            except BlockingIOError:
                await readable(self.orders.fileno())
            else:
                if spare := self.take(report):
                    return spare

    def take(self, report: bytes) -> Spare | None:
        """Takes a report; returns the process once it is ready.

        Raises:
            ValueError: the report is empty: no more will come.
            OSError: the process could not be made.
        """
        word, *rest = report.split()
        if word == b"ready":
            pid, init, *refused = rest
            parts = refused_parts(refused)
            return Spare(int(pid), self.stdout, self.stderr, self.orders, int(init), parts)
        if word != b"made":
            raise OSError(int(rest[1]), os.strerror(int(rest[1])), rest[0].decode())
        self.made.append(int(rest[0]))
        return None

    def end(self) -> bool:
        """Ends the process if it is ready or will never be; returns False if that is not known yet."""
        spare = None
        while spare is None:
            try:
                report = self.orders.recv(REPORT_BYTES)
            except BlockingIOError:
                return False
            except OSError:
                report = b""
            try:
                spare = self.take(report)
            except (ValueError, OSError):
                self.abandon()
                return True
        discard(spare)
        return True

    def abandon(self) -> None:
        """Closes our ends and ends the processes forked so far; the spare process will never be ready."""
        self.orders.close()
        os.close(self.stdout)
        os.close(self.stderr)
        for pid in self.made:
            children.end(pid)
