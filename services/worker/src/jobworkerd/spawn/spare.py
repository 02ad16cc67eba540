"""A spare process that is ready for an `ExecRequest`."""

import os
import select
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from jobworkerd.spawn.child_process import Process
from jobworkerd.spawn.parent import Parent


@dataclass(frozen=True)
class Spare:
    """A process that waits for its `ExecRequest`. Its owner closes the descriptors and discards the process.

    `control` is the control socket (see `exec_protocol`). `stdout` and `stderr` are the read ends of the
    job's pipes. `init` is the init of its PID namespace, which the owner discards too; None without a
    namespace. `refused` maps the parts of the isolation that the kernel refused to errnos.
    """

    pid: int
    stdout: int
    stderr: int
    control: socket.socket
    init: Process | None = None
    refused: Mapping[str, int] = field(default_factory=dict)

    def has_ended(self) -> bool:
        """Return whether the process or its init was killed. Without the init, no job can start."""
        poll = select.poll()
        poll.register(self.control, 0)  # the kernel reports the end of the socket without a request
        return bool(poll.poll(0)) or bool(self.init and self.init.has_ended())


def discard(spare: Spare, parent: Parent) -> None:
    """End a process that has received no `ExecRequest`, and release its resources."""
    spare.control.close()
    os.close(spare.stdout)
    os.close(spare.stderr)
    parent.discard(spare.pid)
    if spare.init:
        spare.init.close()
        parent.discard(spare.init.pid)
