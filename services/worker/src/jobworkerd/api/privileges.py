"""Drops the privileges of the API process, which parses bytes from the network and needs almost none.

This must happen after all modules are loaded, because the final user may be unable to read them. It must
happen before there are other threads, client connections or a key, because most of it affects only the
calling thread and its future threads.
"""

import ctypes
import os
from collections.abc import Collection
from pathlib import Path

from jobworkerd import keyring
from jobworkerd.api import landlock
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


def drop(uid: int | None, gid: int | None, ports: Collection[int]) -> None:
    """Change to a user without capabilities, except for the one that listening on low `ports` needs.

    If `uid` is None, the process keeps its user and its capabilities. In both cases it cannot gain
    privileges, it leaves the session keyring in which the server was started, and only root can trace it. If
    the kernel supports Landlock, the process cannot open files for writing.

    Raises:
        CannotStart: the process cannot change to this user, or cannot leave its session keyring.
    """
    os.umask(_UMASK)
    try:
        if uid is not None and gid is not None:
            _become(uid, gid, {_CAP_NET_BIND_SERVICE} if any(map(_is_low, ports)) else set())
        prctl(_PR_SET_NO_NEW_PRIVS, 1)
        # The memory of the process contains the key of the server. This also disables core dumps.
        prctl(_PR_SET_DUMPABLE, 0)
    except OSError as error:
        raise CannotStart(
            f"the API process cannot change to user {uid} ({error.strerror}); give the server CAP_SETUID, "
            'CAP_SETGID and CAP_SETPCAP, or set api.user = "root"'
        ) from error
    _leave_session_keyring()
    landlock.forbid_writing()


def _become(uid: int, gid: int, keep: set[int]) -> None:
    empty_bounding_set()
    # Without it, setresuid clears all capabilities, see capabilities(7).
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
            f"the API process cannot leave the session keyring of the server ({error.strerror}); "
            "raise kernel.keys.maxkeys (keyrings(7))"
        ) from error


def _set_capabilities(mask: int) -> None:
    """Set the permitted and the effective set. The inheritable and the ambient set become empty."""
    sets = (_Sets * 2)(_Sets(mask, mask, 0))
    checked(libc().capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), sets))


def _is_low(port: int) -> bool:
    """Return whether a port needs a capability (ip(7), "ip_unprivileged_port_start")."""
    return 0 < port < int(_FIRST_FREE_PORT.read_text())
