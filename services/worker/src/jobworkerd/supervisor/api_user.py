"""The user of the API processes. It owns nothing and has one group.

`dynamic` is a UID that no account uses. It is above all ranges of https://systemd.io/UIDS-GIDS, and below the
UIDs of jobs.
"""

import os
from pathlib import Path

from jobworkerd.spawn import users
from jobworkerd.spawn.identity import Identity

DYNAMIC = "dynamic"
DYNAMIC_ID = 1_899_999_999
_SELF = Path("/proc/self")


class NoSuchUser(ValueError):
    """Raised when the API processes cannot run as the user of `api.user`. The message says what to do."""


def resolve(name: str) -> Identity | None:
    """Return the user for `api.user`; None if it is the user of this process.

    Raises:
        NoSuchUser: no user has this name, or this process cannot start processes of that user.
    """
    own = os.geteuid()
    user = Identity(DYNAMIC_ID, DYNAMIC_ID) if name == DYNAMIC else _named(name)
    if user.uid == own or (own != 0 and name == DYNAMIC):
        return None
    if own != 0:
        raise NoSuchUser(f'api.user: {name} requires a server that runs as root; set api.user = "{DYNAMIC}"')
    if not _is_mapped(user.uid, "uid_map") or not _is_mapped(user.gid, "gid_map"):
        raise NoSuchUser(
            f"api.user: {name} has UID {user.uid}, which is not mapped in the server's user namespace; "
            "use a user that is mapped, such as root"
        )
    return user


def _named(name: str) -> Identity:
    """Return a user without supplementary groups."""
    user = users.find(name)
    if user is None:
        raise NoSuchUser(f'api.user: this host has no user {name}; create it, or set api.user = "{DYNAMIC}"')
    return Identity(user.uid, user.gid)


def _is_mapped(number: int, table: str) -> bool:
    """Return whether the user namespace of this process maps an id (user_namespaces(7), "uid_map")."""
    for line in (_SELF / table).read_text().splitlines():
        first, _, length = map(int, line.split())
        if first <= number < first + length:
            return True
    return False
