"""The users that jobs run as. By default each job has a dedicated user from a reserved range of UIDs."""

import os
import pwd
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from jobworkerd.config import IsolationConfig
from jobworkerd.spawn.identity import Identity

_NAME = "job"


class UnknownUser(LookupError):
    """Raised when the host has no user of a configured name. The text is for the administrator."""


@dataclass(frozen=True)
class User:
    """A user and its account. `identity` is None for the user that the server runs as."""

    name: str
    home: str
    identity: Identity | None
    full_name: str = ""
    shell: str = "/bin/sh"

    @property
    def uid(self) -> int:
        """The UID."""
        return os.getuid() if self.identity is None else self.identity.uid

    @property
    def exclusive(self) -> bool:
        """True for a user that only this job has and that has no account on the host."""
        return self.identity is not None and self.identity.exclusive

    @property
    def gid(self) -> int:
        """The primary GID."""
        return os.getgid() if self.identity is None else self.identity.gid


class Users:
    """The pool of users for jobs.

    `problem` says why jobs do not run as the configured user; it is empty if they do.
    """

    def __init__(self, config: IsolationConfig) -> None:
        """Fill the pool.

        Raises:
            UnknownUser: the host has no user `isolation.run_as`.
        """
        self.problem = ""
        self._range = range(0)
        self._free = deque[int]()
        self._fixed: User | None = _server_user()
        if os.geteuid() != 0:
            if config.run_as != "server":
                self.problem = "the server does not run as root, so its jobs run as the server's user"
        elif config.run_as == "dynamic":
            self._range = range(config.first_uid, config.first_uid + config.uid_count)
            self._free.extend(self._range)
            self._fixed = None
        elif config.run_as != "server":
            self._fixed = _configured(config.run_as)

    def claim(self, uid: int) -> User:
        """Return the user of a job that runs already. The configuration can have changed since its start."""
        if self._fixed and self._fixed.uid == uid:
            return self._fixed
        with suppress(ValueError):
            self._free.remove(uid)
        return _dynamic(uid)

    def take(self) -> User:
        """Return the user for a job.

        The UID that was released last is reused last, so that leftovers of its job have the most time to end.

        Raises:
            IndexError: all UIDs of the range are in use.
        """
        if self._fixed:
            return self._fixed
        return _dynamic(self._free.popleft())

    @property
    def widest(self) -> User:
        """The user with the most digits in its UID."""
        return self._fixed or _dynamic(self._range[-1])

    def release(self, user: User) -> None:
        """Return the user of a job that has no process to the pool."""
        if user.uid in self._range:
            self._free.append(user.uid)


def find(name: str) -> User | None:
    """Return the user of a name with the groups of a login, or None if the host has no such user."""
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        return None
    groups = tuple(os.getgrouplist(name, account.pw_gid))
    identity = Identity(account.pw_uid, account.pw_gid, groups)
    return User(name, account.pw_dir, identity, account.pw_gecos, account.pw_shell)


def _server_user() -> User:
    """Return the server's user, which can lack an account, for example in a container."""
    try:
        account = pwd.getpwuid(os.getuid())
    except KeyError:
        return User(str(os.getuid()), "/", None)
    return User(account.pw_name, account.pw_dir, None, account.pw_gecos, account.pw_shell)


def _dynamic(uid: int) -> User:
    return User(_NAME, "/", Identity(uid, uid, exclusive=True))


def _configured(name: str) -> User:
    user = find(name)
    if user is None:
        raise UnknownUser(
            f'isolation.run_as: this host has no user {name!r}; create it, or use "dynamic" or "server"'
        )
    return user
