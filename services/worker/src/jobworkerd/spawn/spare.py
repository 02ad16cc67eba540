"""A spare process that is ready for an `ExecRequest`."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from jobworkerd.spawn import children


@dataclass(frozen=True)
class Spare:
    """A process that waits for its `ExecRequest`. Its owner closes the descriptors and reaps the process.

    `control` is the control socket (see `exec_protocol`). `stdout` and `stderr` are the read ends of the
    job's pipes. `init` is the PID of the init of its PID namespace, which the owner reaps too; 0 without a
    namespace. `refused` maps the parts of the isolation that the kernel refused to errnos.
    """

    pid: int
    stdout: int
    stderr: int
    control: socket.socket
    init: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)

    def has_ended(self) -> bool:
        """Return whether the process or its init was killed. Without the init, no job can start."""
        return children.has_ended(self.pid) or bool(self.init and children.has_ended(self.init))


def discard(spare: Spare) -> None:
    """End a process that has received no `ExecRequest`, and release its resources."""
    spare.control.close()
    os.close(spare.stdout)
    os.close(spare.stderr)
    children.reap(spare.pid)
    if spare.init:
        children.reap(spare.init)
