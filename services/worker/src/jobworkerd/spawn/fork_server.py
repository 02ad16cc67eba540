"""`python -m jobworkerd.spawn.fork_server SOCKET SETUP`: forks spare processes for the supervisor.

A fork costs the supervisor more than the call: the kernel copies each page that it writes to afterwards. The
fork server is small and has one thread, and it forks on another core while the supervisor continues.

SOCKET and SETUP are descriptors. Each message on the socket carries the descriptors of one spare process,
which reports by itself that it exists. SETUP is a file with the settings that all spare processes share. The
program ends when the socket is closed.
"""

import gc
import os
import socket
import sys

from jobworkerd.spawn import clone
from jobworkerd.spawn.spare_process import become_spare, report_failure
from jobworkerd.spawn.spare_setup import Setup, signals_to_reset

_NICE = 10
"""The fork server runs at a lower priority so that preforking does not delay requests in flight."""

_DESCRIPTORS = 4
"""stdin, stdout, stderr and the control socket, in the order of `become_spare`."""


def main() -> int:
    """Serve until the socket is closed."""
    descriptor, setup_file = map(int, sys.argv[1:])
    setup = Setup.read(setup_file)
    os.close(setup_file)
    # A garbage collection in a spare process would touch, and so copy, every page.
    gc.disable()
    if os.geteuid() == 0:  # without privileges, jobs could not return to the supervisor's priority
        os.nice(_NICE)
    signals_to_reset()  # spare processes inherit the cached result
    with socket.socket(fileno=descriptor) as sock:
        serve(sock, setup)
    return 0


def serve(sock: socket.socket, setup: Setup) -> None:
    """Fork one spare process per message; return when the socket is closed."""
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
