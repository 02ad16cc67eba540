"""Entries for a job's user in the account files, passwd(5) and group(5)."""

from jobworkerd.spawn.private_mounts import Accounts
from jobworkerd.spawn.users import User

FILES = PASSWD, GROUP = "/etc/passwd", "/etc/group"


def entries(user: User, home: str, widest: User) -> Accounts:
    """Return the entry for a job's user in each file. It takes precedence over the host's entries.

    Entries are padded with newlines to the length of the entry for `widest`. Libraries skip empty lines.
    """
    return tuple(
        (path, entry.ljust(len(longest), b"\n"))
        for (path, entry), (_, longest) in zip(_entries(user, home), _entries(widest, home), strict=True)
    )


def _entries(user: User, home: str) -> Accounts:
    passwd = f"{user.name}:x:{user.uid}:{user.gid}:{user.full_name}:{home}:{user.shell}\n"
    group = f"{user.name}:x:{user.gid}:\n"
    if user.exclusive:
        return ((PASSWD.encode(), passwd.encode()), (GROUP.encode(), group.encode()))
    return ((PASSWD.encode(), passwd.encode()),)  # the host's group file names the group of a host user
