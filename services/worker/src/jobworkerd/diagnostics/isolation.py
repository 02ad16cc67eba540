"""Checks which parts of the isolation of jobs this host can enforce. Only user namespaces are tried."""

import os
from collections.abc import Iterator
from pathlib import Path

from jobworkerd.config import Config
from jobworkerd.diagnostics import kernel, user_namespaces
from jobworkerd.scratch import requirements
from jobworkerd.spawn import namespaces, seccomp_program, writable_paths

_NOT_ROOT = (
    'jobs run as the user of a server without root; set isolation.run_as = "server", or start it as root'
)
_READ_ONLY_SINCE = (5, 12)
"""The version that added mount_setattr(2)."""


def problems(config: Config, proc: Path = Path("/proc")) -> Iterator[tuple[str, str]]:
    """Yield each configured part and why it cannot be enforced; the reason is empty if it can."""
    wanted, root = config.isolation, os.geteuid() == 0
    if wanted.run_as != "server":
        yield "user", "" if root else _NOT_ROOT
    refused = "" if root else user_namespaces.problem(proc)
    for name, _, file in namespaces.CONFIGURABLE:
        if getattr(wanted, f"{name}_namespace"):
            yield f"{name}_namespace", _namespace_problem(name, proc / "self/ns" / file) or refused
    if wanted.no_new_privileges:
        yield "no_new_privileges", ""
    if wanted.seccomp:
        yield "seccomp", _seccomp_problem(proc, fixed_privileges=wanted.no_new_privileges)
    if wanted.mount_namespace and wanted.writable_paths:
        yield "writable_paths", _writable_problem(config)
    yield "session_keyring", ""
    if config.scratch.directory:
        yield "scratch", requirements.problem(config)


def _seccomp_problem(proc: Path, *, fixed_privileges: bool) -> str:
    if not fixed_privileges:
        return "isolation.no_new_privileges is false; set it to true, or set isolation.seccomp = false"
    if not seccomp_program.is_supported(os.uname().machine):
        return "the server does not support this machine; use x86-64 or 64-bit ARM"
    if not (proc / "sys/kernel/seccomp").is_dir():
        return "this kernel has no system call filters; boot a kernel with CONFIG_SECCOMP_FILTER"
    return ""


def _writable_problem(config: Config) -> str:
    try:
        writable_paths.check(config)
    except writable_paths.UnusablePath as error:
        return str(error)
    return ""


def _namespace_problem(name: str, file: Path) -> str:
    if not file.is_symlink():
        return f"this kernel has no {name} namespaces; boot a kernel with them"
    if name == namespaces.MOUNT.name and not kernel.is_at_least(_READ_ONLY_SINCE):
        return "this kernel cannot make all mounts read-only; boot Linux >= 5.12"
    return ""
