"""What a spare process is told to run: written by the supervisor, read in the process that becomes the job."""

import os
import pwd

import msgspec

from jobworkerd.model import JobSpec

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Order(msgspec.Struct, frozen=True, array_like=True):
    """What execve(2) takes, encoded by the supervisor: bytes mean the same under every locale."""

    path: bytes
    argv: list[bytes]
    env: dict[bytes, bytes]
    directory: bytes


def order_for(spec: JobSpec) -> Order:
    """Returns the order to run a job's command."""
    path = spec.command.encode()
    env = {name.encode(): value.encode() for name, value in environment(spec).items()}
    return Order(path, [path, *(arg.encode() for arg in spec.args)], env, spec.working_directory.encode())


def environment(spec: JobSpec) -> dict[str, str]:
    """Returns the job's environment: what it asks for over four variables, never the server's own."""
    user = pwd.getpwuid(os.getuid())
    return {"PATH": PATH, "HOME": user.pw_dir, "USER": user.pw_name, "LANG": "C.UTF-8"} | spec.env


def write(order: Order) -> int:
    """Returns a descriptor of a file that has the order, for the caller to close.

    It is a file in memory, as a socket may not have room for a whole command line, and nobody may wait.

    Raises:
        OSError: there is no memory for it.
    """
    file = os.memfd_create("jobworker-order")
    try:
        os.write(file, msgspec.msgpack.encode(order))
    except OSError:
        os.close(file)
        raise
    return file


def read(file: int) -> Order:
    """Returns the order that a file has."""
    return msgspec.msgpack.decode(os.pread(file, os.fstat(file).st_size, 0), type=Order)
