"""What of a job's isolation is in force, for its record: the configuration's wishes, and what the kernel
made of them.
"""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from jobworkerd.config import Config, IsolationConfig
from jobworkerd.model import AppliedIsolation, Network
from jobworkerd.supervisor.isolation import Isolation
from jobworkerd.supervisor.users import User

NAMESPACES = ("mount", "uts", "ipc", "pid")
NO_NEW_PRIVILEGES = "no_new_privileges"
SESSION_KEYRING = "session_keyring"
NETWORK = "network"
USER = "user"

_WHY = {
    errno.EPERM: "the server may not; start it as root",
    errno.EINVAL: "this kernel has no such namespaces; boot one that has",
    errno.ENOSYS: "this kernel is too old; boot Linux >= 5.12",
    errno.EDQUOT: "the server's user has all the keys that it may have; raise kernel.keys.maxkeys",
    errno.EOPNOTSUPP: "the server does not know this machine's system calls; use x86-64 or 64-bit ARM",
    errno.ENOSPC: "the host allows no more of them; raise user.max_*_namespaces (namespaces(7))",
}


def isolation_for(config: Config) -> Isolation:
    """Returns what a spare process is to do; the server's own directories are masked."""
    wanted = config.isolation
    masked = [config.state_dir, config.certs_dir]
    return Isolation(
        namespaces=_namespaces(wanted),
        no_new_privileges=wanted.no_new_privileges,
        nice=wanted.nice,
        private_bytes=wanted.private_bytes,
        masked=tuple(os.fsencode(Path(path).resolve()) for path in masked),
        writable=tuple(os.fsencode(path) for path in wanted.writable_paths),
    )


def applied(
    wanted: IsolationConfig, user: User, user_problem: str, network: Network, refused: Mapping[str, int]
) -> tuple[AppliedIsolation, ...]:
    """Returns each part that is wanted, and whether it is in force."""
    parts = [_part(USER, user_problem, f"{user.name} ({user.uid})")]
    parts += [_part(f"{name}_namespace", _reason(refused.get(name))) for name in _namespaces(wanted)]
    if wanted.no_new_privileges:
        parts.append(_part(NO_NEW_PRIVILEGES, _reason(refused.get(NO_NEW_PRIVILEGES))))
    parts.append(_part(SESSION_KEYRING, _reason(refused.get(SESSION_KEYRING))))
    if network is Network.NONE:
        parts.append(_part(NETWORK, _reason(refused.get(NETWORK)), "none"))
    return tuple(parts)


def refuse(part: AppliedIsolation, refused: Mapping[str, int]) -> AppliedIsolation:
    """Returns a part as it is once the kernel has refused some more."""
    return _part(part.part, _reason(refused[part.part]), part.value) if part.part in refused else part


def _namespaces(wanted: IsolationConfig) -> tuple[str, ...]:
    return tuple(name for name in NAMESPACES if getattr(wanted, f"{name}_namespace"))


def _part(name: str, reason: str, value: str = "") -> AppliedIsolation:
    return AppliedIsolation(part=name, in_force=not reason, value=value, reason=reason)


def _reason(refused: int | None) -> str:
    if refused is None:
        return ""
    return f"{os.strerror(refused)}: {_WHY.get(refused, 'the kernel refuses')}"
