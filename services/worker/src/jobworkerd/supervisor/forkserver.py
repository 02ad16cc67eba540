"""`python -m jobworkerd.supervisor.forkserver SOCKET SOFT HARD`: forks the spare processes, so that the
supervisor need not.

A fork costs the supervisor more than the call: each page that it writes to afterwards is copied first. This
program is small, has one thread and nothing else to do, and its forks run on another core while the
supervisor goes on.

Each message on the socket (a descriptor) has the descriptors of one spare process, which says by itself
that it is there. The program ends when the socket is closed. SOFT and HARD are the jobs' RLIMIT_NOFILE.
"""

import gc
import os
import socket
import sys

from jobworkerd.supervisor import clone
from jobworkerd.supervisor.spare_process import become_spare, report_failure

_DESCRIPTORS = 4
"""stdin, stdout, stderr, orders: as `become_spare` takes them."""


def main() -> int:
    """Serves until the socket is closed."""
    descriptor, soft, hard = map(int, sys.argv[1:])
    # No collection in a spare process: it would touch, and so copy, each page.
    gc.disable()
    with socket.socket(fileno=descriptor) as sock:
        serve(sock, (soft, hard))
    return 0


def serve(sock: socket.socket, open_files: tuple[int, int]) -> None:
    """Forks one spare process for each message; returns at the end of the socket."""
    while True:
        _, fds, _, _ = socket.recv_fds(sock, 1, _DESCRIPTORS)
        if not fds:
            return
        try:
            if clone.fork_sibling() == 0:
                become_spare((fds[0], fds[1], fds[2], fds[3]), open_files)
        except OSError as error:
            report_failure(fds[-1], "fork", error)
        for descriptor in fds:
            os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
