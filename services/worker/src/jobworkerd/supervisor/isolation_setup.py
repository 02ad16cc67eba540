"""The isolation that spare processes need, from the configuration and the host."""

import os
import pwd
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from jobworkerd.config import Config, IsolationConfig
from jobworkerd.limit_bounds import MIB
from jobworkerd.spawn import kernel_files, namespaces, seccomp_program
from jobworkerd.spawn.isolation import Isolation
from jobworkerd.spawn.private_mounts import PRIVATE, Accounts, View

_NAME_SERVICE_CACHE = Path("/run/nscd")

_SESSIONS = (Path("/run/user"), Path("/run/screen"))
"""Sockets of users' sessions. A job could have the service manager or screen(1) of its user start processes
outside of its cgroup.
"""


def isolation_for(config: Config, widest: Accounts) -> Isolation:
    """Return the isolation of spare processes. `widest` are the longest account entries of any job's user."""
    wanted = config.isolation
    return Isolation(
        namespaces=enabled_namespaces(wanted),
        no_new_privileges=wanted.no_new_privileges,
        nice=wanted.nice,
        view=_view(config, widest),
        seccomp=_filter(wanted) if wanted.seccomp else None,
        user_namespace=os.geteuid() != 0 and bool(enabled_namespaces(wanted)),
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
    directories = (config.state_dir, config.certs_dir, config.scratch.directory)
    of_kernel = map(os.fsdecode, kernel_files.MASKED_DIRECTORIES)
    home, *others = map(os.fsdecode, PRIVATE)
    links = {path: real for path in wanted.writable_paths if (real := str(Path(path).resolve())) != path}
    return View(
        private=_real([home, *filter(os.path.isdir, others), *_private_to_users(wanted)]),
        scratch_bytes=config.scratch.default * MIB,
        masked=_real((*filter(None, directories), _NAME_SERVICE_CACHE, *of_kernel)),
        writable=_real(wanted.writable_paths),
        links=tuple((os.fsencode(path), os.fsencode(real)) for path, real in links.items()),
        accounts=widest,
        devices=tuple(map(os.fsencode, wanted.devices)),
    )


def _private_to_users(wanted: IsolationConfig) -> Iterator[Path]:
    """Yield the directories of the jobs' user that jobs must not reach. A dynamic user has none."""
    root = os.geteuid() == 0
    if root and wanted.run_as == "dynamic":
        return
    yield from filter(Path.is_dir, _SESSIONS)
    if not root and (home := _own_home()) and not _is_below(home, PRIVATE):
        yield home


def _own_home() -> Path | None:
    """Return the home of the server's user; None if another user owns it, as with most system users."""
    with suppress(KeyError, OSError):
        home = Path(pwd.getpwuid(os.getuid()).pw_dir).resolve()
        return home if home.stat().st_uid == os.getuid() else None
    return None


def _is_below(path: Path, directories: Iterable[bytes]) -> bool:
    return any(path.is_relative_to(os.fsdecode(each)) for each in directories)


def _real(paths: Iterable[str | Path]) -> tuple[bytes, ...]:
    return tuple(os.fsencode(Path(path).resolve()) for path in paths)


def enabled_namespaces(wanted: IsolationConfig) -> tuple[str, ...]:
    """Return the names of the namespaces that jobs get."""
    return tuple(each.name for each in namespaces.CONFIGURABLE if getattr(wanted, f"{each.name}_namespace"))
