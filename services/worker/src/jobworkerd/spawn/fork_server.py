"""`python -m jobworkerd.spawn.fork_server SOCKET SETUP`: forks the spare processes, so that the
supervisor need not.

A fork costs the supervisor more than the call: each page that it writes to afterwards is copied first. This
program is small, has one thread and nothing else to do, and its forks run on another core while the
supervisor goes on.

Each message on the socket (a descriptor) has the descriptors of one spare process, which says by itself
that it is there. The program ends when the socket is closed. SETUP is a descriptor, too: of a file with
what all have in common.
"""

import gc
import os
import socket
import sys

from jobworkerd.spawn import clone
from jobworkerd.spawn.spare_process import Setup, become_spare, report_failure, signals_to_reset

_NICE = 10
"""What is made ahead, and its end, stands back behind those who wait for something now."""

_DESCRIPTORS = 4
"""stdin, stdout, stderr, orders: as `become_spare` takes them."""


def main() -> int:
    """Serves until the socket is closed."""
    descriptor, setup_file = map(int, sys.argv[1:])
    setup = Setup.read(setup_file)
    os.close(setup_file)
    # No collection in a spare process: it would touch, and so copy, each page.
    gc.disable()
    if os.geteuid() == 0:  # nobody else may undo it for the jobs
        os.nice(_NICE)
    signals_to_reset()  # which each spare process knows then
    with socket.socket(fileno=descriptor) as sock:
        serve(sock, setup)
    return 0


def serve(sock: socket.socket, setup: Setup) -> None:
    """Forks one spare process for each message; returns at the end of the socket."""
    while True:
        _, fds, _, _ = socket.recv_fds(sock, 1, _DESCRIPTORS)
        if not fds:
            return
        try:
            if clone.fork_sibling() == 0:
                become_spare((fds[0], fds[1], fds[2], fds[3]), setup)
        except OSError as error:
            report_failure(fds[-1], "fork", error)
        for descriptor in fds:
            os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
