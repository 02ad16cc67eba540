"""Giving up what the API process can do without: nearly all, as its work is to take bytes from the network.

To be called when all modules are loaded, which may lie where nobody but root can read, and before there
is a thread, a socket of a client's or a key: most of it counts for the calling thread and those to come.
"""

import ctypes
import os
from pathlib import Path

from jobworkerd import keyring
from jobworkerd.api.identity import landlock
from jobworkerd.libc import checked, empty_bounding_set, libc, prctl
from jobworkerd.startup import CannotStart

# include/uapi/linux/prctl.h
_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_PR_SET_NO_NEW_PRIVS = 38

# include/uapi/linux/capability.h
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_NET_BIND_SERVICE = 10

_FIRST_FREE_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_UMASK = 0o077


class _Header(ctypes.Structure):
    """`struct __user_cap_header_struct` of capget(2)."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    """`struct __user_cap_data_struct` of capget(2): 32 capabilities of each set."""

    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


def drop(uid: int | None, gid: int | None, port: int) -> None:
    """Becomes a user without capabilities, but for the one that listening on a low port takes.

    With None the process keeps its user, and the capabilities that it has. Either way it can gain none any
    more, it has no keys of the session that the server was started in, and only root can look into it. Where
    the kernel has Landlock, it can open no file for writing.

    Raises:
        CannotStart: the process may not become that user.
    """
    os.umask(_UMASK)
    try:
        if uid is not None and gid is not None:
            _become(uid, gid, {_CAP_NET_BIND_SERVICE} if _is_low(port) else set())
        prctl(_PR_SET_NO_NEW_PRIVS, 1)
        # Its memory has the server's key. This also keeps core dumps from being written.
        prctl(_PR_SET_DUMPABLE, 0)
    except OSError as error:
        raise CannotStart(
            f"the API cannot become user {uid} ({error.strerror}); the server needs CAP_SETUID, CAP_SETGID "
            'and CAP_SETPCAP for that: give it those, or set api.user = "root"'
        ) from error
    _leave_session_keyring()
    landlock.forbid_writing()


def _become(uid: int, gid: int, keep: set[int]) -> None:
    empty_bounding_set()
    # Otherwise setresuid would take all capabilities, see capabilities(7).
    prctl(_PR_SET_KEEPCAPS, int(bool(keep)))
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _set_capabilities(sum(1 << number for number in keep))


def _leave_session_keyring() -> None:
    try:
        keyring.join_new_session()
    except OSError as error:
        raise CannotStart(
            f"the API cannot leave the session keyring that the server was started in ({error.strerror}); "
            "raise kernel.keys.maxkeys (keyrings(7))"
        ) from error


def _set_capabilities(mask: int) -> None:
    """Makes the permitted and the effective set these; the inheritable and the ambient one become empty."""
    sets = (_Sets * 2)(_Sets(mask, mask, 0))
    checked(libc().capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), sets))


def _is_low(port: int) -> bool:
    """Tells whether listening on a port takes a capability (ip(7), "ip_unprivileged_port_start")."""
    return 0 < port < int(_FIRST_FREE_PORT.read_text())
