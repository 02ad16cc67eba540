"""The request for a spare process, until the process is ready."""

import os
import socket
from dataclasses import dataclass, field

from jobworkerd.spawn import exec_protocol
from jobworkerd.spawn.child_process import Process
from jobworkerd.spawn.exec_protocol import Failed, Forked, Ready, Report
from jobworkerd.spawn.fork_client import ForkServer
from jobworkerd.spawn.parent import Parent
from jobworkerd.spawn.readable import readable
from jobworkerd.spawn.spare import Spare, discard


@dataclass(frozen=True)
class SpareRequest:
    """A requested spare process: the supervisor's ends of its pipes and socket, and the PIDs forked so far.

    `fork_server` received the request. A process whose `generation` is not the current one of the pool is
    outdated: the host has changed since.
    """

    parent: Parent
    fork_server: ForkServer
    generation: int
    stdout: int
    stderr: int
    control: socket.socket
    forked: list[int] = field(default_factory=list)

    async def ready(self) -> Spare:
        """Wait until the process is ready, and return it.

        Raises:
            EOFError: the process or the fork server died.
            ValueError: the process sent an invalid report.
            OSError: the process could not be created.
        """
        while True:
            try:
                report = exec_protocol.receive(self.control)
            except BlockingIOError:
                await readable(self.control.fileno())
            else:
                if spare := self.handle(report):
                    return spare

    def handle(self, report: Report | None) -> Spare | None:
        """Handle a report, or None at the end of the socket; return the process when it is ready.

        Raises:
            EOFError: the process or the fork server died.
            ValueError: the process cannot send this report before it is ready.
            OSError: the process could not be created, or the host is exhausted.
        """
        match report:
            case Forked(pid):
                self.forked.append(pid)
                return None
            case Ready(pid, init, refused):
                process = Process.of(init) if init else None
                return Spare(pid, self.stdout, self.stderr, self.control, process, refused)
            case Failed(step, code):
                raise OSError(code, os.strerror(code), step)
            case None:
                raise EOFError("the spare process or the fork server died")
        raise ValueError(f"unexpected report before Ready: {report}")

    def end(self) -> bool:
        """End the process if it is ready or has failed; return False if that is not known yet."""
        spare = None
        while spare is None:
            try:
                report = exec_protocol.receive(self.control)
            except BlockingIOError:
                return False
            except (OSError, ValueError):
                report = None
            try:
                spare = self.handle(report)
            except (EOFError, OSError, ValueError):
                self.abandon()
                return True
        discard(spare, self.parent)
        return True

    def abandon(self) -> None:
        """Close the descriptors and end the forked processes of a request that will not be fulfilled."""
        self.control.close()
        os.close(self.stdout)
        os.close(self.stderr)
        for pid in self.forked:
            self.parent.discard(pid)
