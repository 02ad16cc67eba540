"""What of a job's isolation is in force, for its record: the configuration's wishes, and what the kernel
made of them.
"""

import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from jobworkerd.config import Config, IsolationConfig
from jobworkerd.model import AppliedIsolation, Network
from jobworkerd.spawn import namespaces
from jobworkerd.spawn.isolation import Isolation
from jobworkerd.spawn.private_mounts import ACCOUNTS, HOME, PRIVATE, WRITABLE_PATHS, Accounts, View
from jobworkerd.spawn.users import User

MOUNT = namespaces.MOUNT.name
NO_NEW_PRIVILEGES = "no_new_privileges"
SESSION_KEYRING = "session_keyring"
NETWORK = "network"
USER = "user"

_NAME_SERVICE_CACHE = Path("/run/nscd")

_WHY = {
    errno.EPERM: "the server may not; start it as root",
    errno.EINVAL: "this kernel has no such namespaces; boot one that has",
    errno.ENOSYS: "this kernel is too old; boot Linux >= 5.12",
    errno.EDQUOT: "the server's user has all the keys that it may have; raise kernel.keys.maxkeys",
    errno.EOPNOTSUPP: "the server does not know this machine's system calls; use x86-64 or 64-bit ARM",
    errno.ENOSPC: "the host allows no more of them; raise user.max_*_namespaces (namespaces(7))",
}


def isolation_for(config: Config, widest: Accounts) -> Isolation:
    """Returns what a spare process is to do. `widest` are the longest lines that any job's user has."""
    wanted = config.isolation
    return Isolation(
        namespaces=_namespaces(wanted),
        no_new_privileges=wanted.no_new_privileges,
        nice=wanted.nice,
        view=_view(config, widest),
    )


def _view(config: Config, widest: Accounts) -> View:
    """Returns what jobs see. The server's own directories are masked, and so is a name service cache, which
    does not know the jobs' users.
    """
    wanted = config.isolation
    masked = (config.state_dir, config.certs_dir, _NAME_SERVICE_CACHE)
    private = [os.fsdecode(path) for path in PRIVATE]
    links = {path: real for path in wanted.writable_paths if (real := str(Path(path).resolve())) != path}
    return View(
        private=_real([private[0], *(path for path in private[1:] if Path(path).is_dir())]),
        private_bytes=wanted.private_bytes,
        masked=_real(masked),
        writable=_real(wanted.writable_paths),
        links=tuple((os.fsencode(path), os.fsencode(real)) for path, real in links.items()),
        accounts=widest,
    )


def _real(paths: Iterable[str | Path]) -> tuple[bytes, ...]:
    return tuple(os.fsencode(Path(path).resolve()) for path in paths)


def home_of(wanted: IsolationConfig, refused: Mapping[str, int]) -> str:
    """Returns the job's private directory, empty if it has none."""
    return HOME.decode() if wanted.mount_namespace and MOUNT not in refused else ""


def has_accounts(wanted: IsolationConfig, refused: Mapping[str, int]) -> bool:
    """Tells whether the job's user can be named in the files of accounts that the job sees."""
    return bool(home_of(wanted, refused)) and ACCOUNTS not in refused


def applied(
    wanted: IsolationConfig, user: User, user_problem: str, network: Network, refused: Mapping[str, int]
) -> tuple[AppliedIsolation, ...]:
    """Returns each part that is wanted, and whether it is in force."""
    parts = [_part(USER, user_problem, f"{user.name} ({user.uid}){_nameless(wanted, user, refused)}")]
    parts += [_part(f"{name}_namespace", _reason(refused.get(name))) for name in _namespaces(wanted)]
    if wanted.no_new_privileges:
        parts.append(_part(NO_NEW_PRIVILEGES, _reason(refused.get(NO_NEW_PRIVILEGES))))
    if wanted.writable_paths and home_of(wanted, refused):
        parts.append(_writable(wanted, refused))
    parts.append(_part(SESSION_KEYRING, _reason(refused.get(SESSION_KEYRING))))
    if network is Network.NONE:
        parts.append(_part(NETWORK, _reason(refused.get(NETWORK)), "none"))
    return tuple(parts)


def _nameless(wanted: IsolationConfig, user: User, refused: Mapping[str, int]) -> str:
    """Returns what the record adds to a user that the job's programs cannot look up."""
    if has_accounts(wanted, refused) or not user.exclusive:
        return ""
    why = os.strerror(refused[ACCOUNTS]) if ACCOUNTS in refused else "that takes a mount namespace"
    return f", without an entry in /etc/passwd: {why}"


def _writable(wanted: IsolationConfig, refused: Mapping[str, int]) -> AppliedIsolation:
    reasons = [
        f"{path}: {os.strerror(number)}; create the directory, or correct isolation.writable_paths"
        for part, number in refused.items()
        for path in _refused_path(wanted, part)
    ]
    return _part(WRITABLE_PATHS, "; ".join(reasons), ", ".join(wanted.writable_paths))


def _refused_path(wanted: IsolationConfig, part: str) -> tuple[str, ...]:
    name, _, index = part.partition(":")
    return (wanted.writable_paths[int(index)],) if name == WRITABLE_PATHS else ()


def has_private_directories(parts: Iterable[AppliedIsolation]) -> bool:
    """Tells whether a job has directories of its own in the place of some of the host's."""
    return any(each.part == f"{MOUNT}_namespace" and each.in_force for each in parts)


def refuse(part: AppliedIsolation, refused: Mapping[str, int]) -> AppliedIsolation:
    """Returns a part as it is once the kernel has refused some more."""
    return _part(part.part, _reason(refused[part.part]), part.value) if part.part in refused else part


def _namespaces(wanted: IsolationConfig) -> tuple[str, ...]:
    return tuple(each.name for each in namespaces.CONFIGURABLE if getattr(wanted, f"{each.name}_namespace"))


def _part(name: str, reason: str, value: str = "") -> AppliedIsolation:
    return AppliedIsolation(part=name, in_force=not reason, value=value, reason=reason)


def _reason(refused: int | None) -> str:
    if refused is None:
        return ""
    return f"{os.strerror(refused)}: {_WHY.get(refused, 'the kernel refuses')}"
