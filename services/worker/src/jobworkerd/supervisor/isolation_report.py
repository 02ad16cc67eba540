"""The isolation of a job for its record: the configured parts, and the reasons why parts are not in force."""

import errno
import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from jobworkerd.config import IsolationConfig
from jobworkerd.model import AppliedIsolation, JobSpec, Network
from jobworkerd.spawn import namespaces
from jobworkerd.spawn.isolation import PROC
from jobworkerd.spawn.private_mounts import ACCOUNTS, HOME, WRITABLE_PATHS
from jobworkerd.spawn.users import User
from jobworkerd.supervisor.isolation_setup import enabled_namespaces

MOUNT = namespaces.MOUNT.name
NO_NEW_PRIVILEGES = "no_new_privileges"
SECCOMP = "seccomp"
SESSION_KEYRING = "session_keyring"
SCRATCH = "scratch"
NETWORK = "network"
USER = "user"

_NO_SCRATCH = "the job has no private directories; the server needs isolation.mount_namespace"
_NO_FILTER = "without a system call filter the job can leave its quota; set isolation.seccomp = true"

_NO_PROC = (
    "the kernel refuses another /proc, so the job sees the processes of the host; "
    "run the server outside of a container, or in one whose /proc is complete"
)

_SECCOMP_REASONS = {
    errno.EACCES: "a system call filter requires isolation.no_new_privileges; set it to true, or set "
    "isolation.seccomp = false",
    errno.EINVAL: "this kernel has no system call filters; boot a kernel with CONFIG_SECCOMP_FILTER",
    errno.ENOSYS: "this kernel has no system call filters; boot a kernel with CONFIG_SECCOMP_FILTER",
}

_REASONS = {
    errno.EPERM: "the server lacks the privilege; start it as root, or let it create user namespaces "
    "(`jobworkerd doctor` says how)",
    errno.EACCES: "a security module of the host refuses it; `jobworkerd doctor` says what to change",
    errno.EINVAL: "this kernel lacks the namespace; boot a kernel with it",
    errno.ENOSYS: "this kernel is too old; boot Linux >= 5.12",
    errno.EDQUOT: "the key quota of the server's user is used up; raise kernel.keys.maxkeys",
    errno.EOPNOTSUPP: "the server does not support this machine; use x86-64 or 64-bit ARM",
    errno.ENOSPC: "the host has too many namespaces; raise user.max_*_namespaces (namespaces(7))",
}


def home_of(wanted: IsolationConfig, refused: Mapping[str, int]) -> str:
    """Return the private directory of the job; empty if it has none."""
    return HOME.decode() if wanted.mount_namespace and MOUNT not in refused else ""


def has_accounts(wanted: IsolationConfig, refused: Mapping[str, int]) -> bool:
    """Return whether /etc/passwd and /etc/group of the job can contain its user."""
    return bool(home_of(wanted, refused)) and ACCOUNTS not in refused


def applied(
    wanted: IsolationConfig, user: User, user_problem: str, spec: JobSpec, refused: Mapping[str, int]
) -> tuple[AppliedIsolation, ...]:
    """Return each configured or requested part, and whether it is in force."""
    parts = [_part(USER, user_problem, f"{user.name} ({user.uid}){_no_account_note(wanted, user, refused)}")]
    parts += [
        _part(f"{name}_namespace", _namespace_reason(name, refused)) for name in enabled_namespaces(wanted)
    ]
    if wanted.no_new_privileges:
        parts.append(_part(NO_NEW_PRIVILEGES, _reason(refused.get(NO_NEW_PRIVILEGES))))
    if wanted.seccomp:
        parts.append(_seccomp(wanted, refused))
    if wanted.writable_paths and home_of(wanted, refused):
        parts.append(_writable(wanted, refused))
    parts.append(_part(SESSION_KEYRING, _reason(refused.get(SESSION_KEYRING))))
    if spec.max_scratch:
        reason = "" if home_of(wanted, refused) else _NO_SCRATCH
        parts.append(_part(SCRATCH, reason, f"{spec.max_scratch} MiB"))
    if spec.network is Network.NONE:
        parts.append(_part(NETWORK, _reason(refused.get(NETWORK)), "none"))
    return tuple(parts)


def _namespace_reason(name: str, refused: Mapping[str, int]) -> str:
    if name == namespaces.PID.name and PROC in refused:
        return f"{os.strerror(refused[PROC])}: {_NO_PROC}"
    return _reason(refused.get(name))


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


def scratch_on_disk(parts: Iterable[AppliedIsolation]) -> tuple[AppliedIsolation, ...]:
    """Return the parts for a job whose private directories are on disk."""
    parts = tuple(parts)
    filtered = any(each.part == SECCOMP and each.in_force for each in parts)
    return tuple(_on_disk(each, filtered=filtered) if each.part == SCRATCH else each for each in parts)


def _on_disk(scratch: AppliedIsolation, *, filtered: bool) -> AppliedIsolation:
    reason = scratch.reason or ("" if filtered else _NO_FILTER)
    return _part(scratch.part, reason, f"{scratch.value} on disk")


def refuse(part: AppliedIsolation, refused: Mapping[str, int]) -> AppliedIsolation:
    """Return a part after the kernel has refused further parts."""
    return _part(part.part, _reason(refused[part.part]), part.value) if part.part in refused else part


def _part(name: str, reason: str, value: str = "") -> AppliedIsolation:
    return AppliedIsolation(part=name, in_force=not reason, value=value, reason=reason)


def _reason(refused: int | None, reasons: Mapping[int, str] = MappingProxyType({})) -> str:
    if refused is None:
        return ""
    reason = reasons.get(refused) or _REASONS.get(refused, "the kernel refused it")
    return f"{os.strerror(refused)}: {reason}"
