"""The users that jobs run as: each job one of its own, from a range that is nobody else's."""

import os
import pwd
from collections import deque
from dataclasses import dataclass

from jobworkerd.config import IsolationConfig
from jobworkerd.spawn.isolation import Identity

_NAME = "job"


class UnknownUser(LookupError):
    """Raised when the configuration names a user whom this host does not have; a sentence."""


@dataclass(frozen=True)
class User:
    """The user that a job runs as. `identity` is None if it is the server's own."""

    name: str
    home: str
    identity: Identity | None
    full_name: str = ""
    shell: str = "/bin/sh"

    @property
    def uid(self) -> int:
        """The user's number."""
        return os.getuid() if self.identity is None else self.identity.uid

    @property
    def exclusive(self) -> bool:
        """True for a user that only this job has, and that the host does not know."""
        return self.identity is not None and self.identity.exclusive

    @property
    def gid(self) -> int:
        """The number of the user's first group."""
        return os.getgid() if self.identity is None else self.identity.gid


class Users:
    """Hands users out; the owner of those of the range that no job has.

    `problem` says why jobs do not run as the user that the configuration wants; it is empty if they do.
    """

    def __init__(self, config: IsolationConfig) -> None:
        """Raises:
        UnknownUser: there is no such user.
        """
        self.problem = ""
        self._free = deque[int]()
        self._fixed: User | None = _own()
        if os.geteuid() != 0:
            if config.run_as != "server":
                self.problem = "the server does not run as root, so its jobs run as the user that it runs as"
        elif config.run_as == "dynamic":
            self._free.extend(range(config.first_uid, config.first_uid + config.uid_count))
            self._last = self._free[-1]
            self._fixed = None
        elif config.run_as != "server":
            self._fixed = _named(config.run_as)

    def take(self) -> User:
        """Returns the user of the next job.

        A number that was given back comes last: whatever still had it has the longest time to go.

        Raises:
            IndexError: as many jobs run as the range has users.
        """
        if self._fixed:
            return self._fixed
        return _numbered(self._free.popleft())

    @property
    def widest(self) -> User:
        """The user with the longest number of those that jobs get."""
        return self._fixed or _numbered(self._last)

    def give_back(self, user: User) -> None:
        """Takes the user of a job that has no process any more."""
        if user is not self._fixed:
            self._free.append(user.uid)


def _own() -> User:
    """Returns the server's user, which need not have an account, as in a container."""
    try:
        own = pwd.getpwuid(os.getuid())
    except KeyError:
        return User(str(os.getuid()), "/", None)
    return User(own.pw_name, own.pw_dir, None, own.pw_gecos, own.pw_shell)


def _numbered(uid: int) -> User:
    return User(_NAME, "/", Identity(uid, uid, exclusive=True))


def _named(name: str) -> User:
    try:
        found = pwd.getpwnam(name)
    except KeyError as error:
        raise UnknownUser(f"isolation.run_as: this host has no user {name!r}") from error
    groups = tuple(os.getgrouplist(name, found.pw_gid))
    identity = Identity(found.pw_uid, found.pw_gid, groups)
    return User(name, found.pw_dir, identity, found.pw_gecos, found.pw_shell)
