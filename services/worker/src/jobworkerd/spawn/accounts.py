"""The files that name users and groups, passwd(5) and group(5), and the lines that a job's user has there."""

from jobworkerd.spawn.private_mounts import Accounts
from jobworkerd.spawn.users import User

FILES = PASSWD, GROUP = "/etc/passwd", "/etc/group"


def lines(user: User, home: str, widest: User) -> Accounts:
    """Returns the lines of a job's user, by file. They come before the host's, and so decide.

    All users have lines of the same length, that of the widest user: libraries skip the empty lines that may
    follow.
    """
    places = _lines(widest, home)
    return tuple(
        (path, line.ljust(len(place), b"\n"))
        for (path, line), (_, place) in zip(_lines(user, home), places, strict=True)
    )


def _lines(user: User, home: str) -> Accounts:
    passwd = f"{user.name}:x:{user.uid}:{user.gid}:{user.full_name}:{home}:{user.shell}\n"
    group = f"{user.name}:x:{user.gid}:\n"
    if user.exclusive:
        return ((PASSWD.encode(), passwd.encode()), (GROUP.encode(), group.encode()))
    return ((PASSWD.encode(), passwd.encode()),)  # the host names the group of a user of its own
