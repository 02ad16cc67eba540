"""`python faulty_fork_server.py AT ERRNO SOCKET SETUP`: a fork server in which one system call fails.

The call with the index AT fails, in each forked process or in the fork server. Calls count from its start.
"""

import fcntl
import mmap
import os
import sys

from jobworkerd.spawn import clone, fork_server, isolation, mounting, seccomp
from tests.unit.supervisor.faults import Faults

_CALLS = (
    (clone, "_clone"),
    (isolation, "checked"),
    (mounting, "checked"),
    (seccomp, "checked"),
    (mmap, "mmap"),
    (os, "open"),
    (os, "pipe2"),
    (os, "memfd_create"),
    (os, "dup"),
    (os, "dup2"),
    (os, "write"),
    (os, "mkdir"),
    (os, "mknod"),
    (os, "symlink"),
    (os, "chown"),
    (os, "fchown"),
    (os, "chdir"),
    (os, "setresuid"),
    (os, "execvpe"),
    (fcntl, "fcntl"),
)


def main() -> int:
    """Run the fork server with one fault."""
    at, number = map(int, sys.argv[1:3])
    del sys.argv[1:3]
    faults = Faults()
    for module, name in _CALLS:
        setattr(module, name, faults.wrapped(name, getattr(module, name)))
    faults.arm(at, number)
    return fork_server.main()


if __name__ == "__main__":
    sys.exit(main())
