"""A spare process that is ready for its order, and the form of its reports."""

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from jobworkerd.spawn import children

REPORT_BYTES = 256
"""Upper bound of a report's length (see `spare_process`)."""


@dataclass(frozen=True)
class Spare:
    """A process that waits for its order; the receiver closes the descriptors and reaps the process.

    `orders` takes the order and returns the reports (see `spare_process`). `stdout` and `stderr` are the
    read ends of the job's pipes. `init` is the PID of process 1 of its PID namespace, which the receiver
    reaps too; 0 without a namespace. `refused` maps the parts of isolation that the kernel refused to errnos.
    """

    pid: int
    stdout: int
    stderr: int
    orders: socket.socket
    init: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)

    def has_ended(self) -> bool:
        """Tells whether the process or its init was killed: no job can start in a namespace without init."""
        return children.has_ended(self.pid) or bool(self.init and children.has_ended(self.init))


def discard(spare: Spare) -> None:
    """Ends a process that has no order, and releases what it holds."""
    spare.orders.close()
    os.close(spare.stdout)
    os.close(spare.stderr)
    children.reap(spare.pid)
    if spare.init:
        children.reap(spare.init)


def refused_parts(words: Iterable[bytes]) -> dict[str, int]:
    """Decodes the refused parts of isolation in a report, and returns the errno of each."""
    pairs = (word.decode().split("=") for word in words)
    return {part: int(number) for part, number in pairs}
