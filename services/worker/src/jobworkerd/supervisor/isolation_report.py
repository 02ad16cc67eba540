"""The isolation of a job for its record: the configured parts, and the reasons why parts are not in force."""

import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from jobworkerd.config import Config, IsolationConfig
from jobworkerd.model import AppliedIsolation, Network
from jobworkerd.spawn import kernel_files, namespaces, seccomp_program
from jobworkerd.spawn.isolation import Isolation
from jobworkerd.spawn.private_mounts import ACCOUNTS, HOME, PRIVATE, WRITABLE_PATHS, Accounts, View
from jobworkerd.spawn.users import User

MOUNT = namespaces.MOUNT.name
NO_NEW_PRIVILEGES = "no_new_privileges"
SECCOMP = "seccomp"
SESSION_KEYRING = "session_keyring"
NETWORK = "network"
USER = "user"

_NAME_SERVICE_CACHE = Path("/run/nscd")

_SECCOMP_REASONS = {
    errno.EACCES: "a system call filter requires isolation.no_new_privileges; set it to true, or set "
    "isolation.seccomp = false",
    errno.EINVAL: "this kernel has no system call filters; boot a kernel with CONFIG_SECCOMP_FILTER",
    errno.ENOSYS: "this kernel has no system call filters; boot a kernel with CONFIG_SECCOMP_FILTER",
}

_REASONS = {
    errno.EPERM: "the server lacks the privilege; start it as root",
    errno.EINVAL: "this kernel lacks the namespace; boot a kernel with it",
    errno.ENOSYS: "this kernel is too old; boot Linux >= 5.12",
    errno.EDQUOT: "the key quota of the server's user is used up; raise kernel.keys.maxkeys",
    errno.EOPNOTSUPP: "the server does not support this machine; use x86-64 or 64-bit ARM",
    errno.ENOSPC: "the host has too many namespaces; raise user.max_*_namespaces (namespaces(7))",
}


def isolation_for(config: Config, widest: Accounts) -> Isolation:
    """Return the isolation of spare processes. `widest` are the longest account entries of any job's user."""
    wanted = config.isolation
    return Isolation(
        namespaces=_namespaces(wanted),
        no_new_privileges=wanted.no_new_privileges,
        nice=wanted.nice,
        view=_view(config, widest),
        seccomp=_filter(wanted) if wanted.seccomp else None,
    )


def _filter(wanted: IsolationConfig) -> bytes:
    """Return the system call filter, or nothing if this machine is not supported."""
    machine = os.uname().machine
    if not seccomp_program.is_supported(machine):
        return b""
    return seccomp_program.compile_for(machine, wanted.seccomp_allow)


def _view(config: Config, widest: Accounts) -> View:
    """Return the file system view of jobs.

    It masks the server's directories, directories of the kernel, and the name service cache, which does not
    know the users of jobs.
    """
    wanted = config.isolation
    masked = (config.state_dir, config.certs_dir, _NAME_SERVICE_CACHE)
    of_kernel = map(os.fsdecode, kernel_files.MASKED_DIRECTORIES)
    private = [os.fsdecode(path) for path in PRIVATE]
    links = {path: real for path in wanted.writable_paths if (real := str(Path(path).resolve())) != path}
    return View(
        private=_real([private[0], *(path for path in private[1:] if Path(path).is_dir())]),
        private_bytes=wanted.private_bytes,
        masked=_real((*masked, *of_kernel)),
        writable=_real(wanted.writable_paths),
        links=tuple((os.fsencode(path), os.fsencode(real)) for path, real in links.items()),
        accounts=widest,
        devices=tuple(map(os.fsencode, wanted.devices)),
    )


def _real(paths: Iterable[str | Path]) -> tuple[bytes, ...]:
    return tuple(os.fsencode(Path(path).resolve()) for path in paths)


def home_of(wanted: IsolationConfig, refused: Mapping[str, int]) -> str:
    """Return the private directory of the job; empty if it has none."""
    return HOME.decode() if wanted.mount_namespace and MOUNT not in refused else ""


def has_accounts(wanted: IsolationConfig, refused: Mapping[str, int]) -> bool:
    """Return whether /etc/passwd and /etc/group of the job can contain its user."""
    return bool(home_of(wanted, refused)) and ACCOUNTS not in refused


def applied(
    wanted: IsolationConfig, user: User, user_problem: str, network: Network, refused: Mapping[str, int]
) -> tuple[AppliedIsolation, ...]:
    """Return each configured part, and whether it is in force."""
    parts = [_part(USER, user_problem, f"{user.name} ({user.uid}){_no_account_note(wanted, user, refused)}")]
    parts += [_part(f"{name}_namespace", _reason(refused.get(name))) for name in _namespaces(wanted)]
    if wanted.no_new_privileges:
        parts.append(_part(NO_NEW_PRIVILEGES, _reason(refused.get(NO_NEW_PRIVILEGES))))
    if wanted.seccomp:
        parts.append(_seccomp(wanted, refused))
    if wanted.writable_paths and home_of(wanted, refused):
        parts.append(_writable(wanted, refused))
    parts.append(_part(SESSION_KEYRING, _reason(refused.get(SESSION_KEYRING))))
    if network is Network.NONE:
        parts.append(_part(NETWORK, _reason(refused.get(NETWORK)), "none"))
    return tuple(parts)


def _seccomp(wanted: IsolationConfig, refused: Mapping[str, int]) -> AppliedIsolation:
    value = f"also allowed: {', '.join(wanted.seccomp_allow)}" if wanted.seccomp_allow else ""
    return _part(SECCOMP, _reason(refused.get(SECCOMP), _SECCOMP_REASONS), value)


def _no_account_note(wanted: IsolationConfig, user: User, refused: Mapping[str, int]) -> str:
    """Return a note for the record if the job's programs cannot look up the user."""
    if has_accounts(wanted, refused) or not user.exclusive:
        return ""
    why = os.strerror(refused[ACCOUNTS]) if ACCOUNTS in refused else "an entry requires a mount namespace"
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
    """Return whether private directories of the job replace directories of the host."""
    return any(each.part == f"{MOUNT}_namespace" and each.in_force for each in parts)


def refuse(part: AppliedIsolation, refused: Mapping[str, int]) -> AppliedIsolation:
    """Return a part after the kernel has refused further parts."""
    return _part(part.part, _reason(refused[part.part]), part.value) if part.part in refused else part


def _namespaces(wanted: IsolationConfig) -> tuple[str, ...]:
    return tuple(each.name for each in namespaces.CONFIGURABLE if getattr(wanted, f"{each.name}_namespace"))


def _part(name: str, reason: str, value: str = "") -> AppliedIsolation:
    return AppliedIsolation(part=name, in_force=not reason, value=value, reason=reason)


def _reason(refused: int | None, reasons: Mapping[int, str] = MappingProxyType({})) -> str:
    if refused is None:
        return ""
    reason = reasons.get(refused) or _REASONS.get(refused, "the kernel refused it")
    return f"{os.strerror(refused)}: {reason}"
