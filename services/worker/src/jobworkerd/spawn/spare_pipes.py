"""The pipes and the control socket of a new spare process."""

import fcntl
import os
import socket
from contextlib import ExitStack

_PIPE_BYTES = 1 << 20
"""The largest pipe that an unprivileged process may have (/proc/sys/fs/pipe-max-size, pipe(7))."""


def open_ends() -> tuple[tuple[int, int, socket.socket], list[int]]:
    """Return the supervisor's ends (stdout, stderr, control), and the descriptors for the fork server.

    Raises:
        OSError: the host is exhausted. No descriptor is left open.
    """
    with ExitStack() as on_failure:
        stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        on_failure.callback(os.close, stdin)
        (stdout, stdout_end), (stderr, stderr_end) = _pipe(on_failure), _pipe(on_failure)
        parent_end, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent_end.setblocking(False)  # noqa: FBT003 - it takes no keyword
        on_failure.pop_all()
    return (stdout, stderr, parent_end), [stdin, stdout_end, stderr_end, child_end.detach()]


def _pipe(on_failure: ExitStack) -> tuple[int, int]:
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    on_failure.callback(os.close, read_end)
    on_failure.callback(os.close, write_end)
    os.set_blocking(read_end, False)
    _enlarge(read_end)
    return read_end, write_end


def _enlarge(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        # The host is out of memory, or the user's quota of pipe pages is used up (pipe(7)). A small pipe
        # works too.
        return
