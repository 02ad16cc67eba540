"""The numbers of a user that a process can become."""

from typing import NamedTuple


class Identity(NamedTuple):
    """The UID, GID and supplementary groups of a process.

    `exclusive` marks a UID that only one job uses, and that has no account.
    """

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    exclusive: bool = False
