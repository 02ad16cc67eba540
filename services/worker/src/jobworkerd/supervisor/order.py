"""What a spare process is told to run: written by the supervisor, read in the process that becomes the job.

No part of it can hold a NUL, as execve(2) takes strings that end in one; so NULs stand between the parts.
What reads it is kept small (see `forkserver`): hence no msgspec.
"""

import os
from typing import NamedTuple


class Order(NamedTuple):
    """What execve(2) takes, encoded by the supervisor: bytes mean the same under every locale.

    `argv` begins with the program: a path, or a name to be looked up in the PATH of `env`.
    """

    directory: bytes
    argv: list[bytes]
    env: dict[bytes, bytes]


def write(order: Order) -> int:
    """Returns a descriptor of a file that has the order, for the caller to close.

    It is a file in memory, as a socket may not have room for a whole command line, and nobody may wait.

    Raises:
        OSError: there is no memory for it.
    """
    env = [b"=".join(variable) for variable in order.env.items()]
    file = os.memfd_create("jobworker-order")
    try:
        os.write(file, b"\0".join([order.directory, b"%d" % len(order.argv), *order.argv, *env]))
    except OSError:
        os.close(file)
        raise
    return file


def read(file: int) -> Order:
    """Returns the order that a file has."""
    directory, count, *rest = os.pread(file, os.fstat(file).st_size, 0).split(b"\0")
    argv, env = rest[: int(count)], rest[int(count) :]
    return Order(directory, argv, dict(variable.split(b"=", 1) for variable in env))
