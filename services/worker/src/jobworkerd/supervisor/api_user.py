"""The user that the API processes run as: one who owns nothing and is in one group only.

`dynamic` is an id that no account has: above all that https://systemd.io/UIDS-GIDS assigns, and below
those of the jobs.
"""

import os
import pwd
from pathlib import Path
from typing import NamedTuple

DYNAMIC = "dynamic"
DYNAMIC_ID = 1_899_999_999
_SELF = Path("/proc/self")


class NoSuchUser(ValueError):
    """Raised when the API processes cannot run as the user of `api.user`; the text is a sentence."""


class User(NamedTuple):
    """A user's id, and that of the one group that the processes are in."""

    uid: int
    gid: int


def resolve(name: str) -> User | None:
    """Returns the user that `api.user` means, None if that is the one that this process has.

    Raises:
        NoSuchUser: there is none of that name, or this process cannot make others run as that one.
    """
    own = os.geteuid()
    user = User(DYNAMIC_ID, DYNAMIC_ID) if name == DYNAMIC else _named(name)
    if user.uid == own or (own != 0 and name == DYNAMIC):
        return None
    if own != 0:
        raise NoSuchUser(
            f'the API cannot run as {name} unless the server runs as root; set api.user = "{DYNAMIC}"'
        )
    if not _is_mapped(user.uid, "uid_map") or not _is_mapped(user.gid, "gid_map"):
        raise NoSuchUser(
            f"this server is in a user namespace that has no id {user.uid}, which api.user = "
            f'"{name}" means; set api.user to a user who is in it, such as root'
        )
    return user


def _named(name: str) -> User:
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise NoSuchUser(
            f'this host has no user "{name}"; create it, or set api.user = "{DYNAMIC}"'
        ) from None
    return User(found.pw_uid, found.pw_gid)


def _is_mapped(number: int, table: str) -> bool:
    """Tells whether this process's user namespace has an id (user_namespaces(7), "uid_map")."""
    for line in (_SELF / table).read_text().splitlines():
        first, _, length = map(int, line.split())
        if first <= number < first + length:
            return True
    return False
