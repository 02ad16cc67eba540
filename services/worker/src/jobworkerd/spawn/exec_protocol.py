"""What a spare process is told to run: written by the supervisor, read in the process that becomes the job.

What reads it is kept small (see `forkserver`): hence marshal, which is there anyway, for two ends that are
one program.
"""

import marshal
import os
from typing import NamedTuple


class Order(NamedTuple):
    """What execve(2) takes, and what is the job's own of its isolation.

    Strings are encoded by the supervisor: bytes mean the same under every locale. `argv` begins with the
    program: a path, or a name to be looked up in the PATH of `env`. `user` has the
    values of an `isolation.Identity`, None for the server's own. `home` is the private directory that becomes
    that user's, empty without a private directory; `accounts` are the lines that name the user (see
    `private_mounts.name_user`). `network` is what the job may have: `host`, `none`, or `none if
    possible`.
    """

    directory: bytes
    argv: list[bytes]
    env: dict[bytes, bytes]
    user: tuple[object, ...] | None = None
    home: bytes = b""
    accounts: tuple[tuple[bytes, bytes], ...] = ()
    network: str = "host"


def write(values: tuple[object, ...]) -> int:
    """Returns a descriptor of a file that has the values, for the caller to close.

    It is a file in memory, as a socket may not have room for a whole command line, and nobody may wait.

    Raises:
        OSError: there is no memory for it.
    """
    file = os.memfd_create("jobworker-order")
    try:
        os.write(file, marshal.dumps(tuple(values)))  # type: ignore[arg-type]  # the stub lists what there is
    except OSError:
        os.close(file)
        raise
    return file


def read(file: int) -> tuple[object, ...]:
    """Returns the values that a file has."""
    values: tuple[object, ...] = marshal.loads(os.pread(file, os.fstat(file).st_size, 0))  # noqa: S302
    return values
