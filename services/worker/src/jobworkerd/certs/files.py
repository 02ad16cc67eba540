"""Stores certificates and keys in one directory as `NAME.pem` and `NAME-key.pem`.

A set is written completely or not at all. Only the owner can read a key, from its first byte on. Files are
overwritten only on request. This module does not import cryptography, which is slow and not needed here.
"""

import contextlib
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from jobworkerd.certs.errors import CertificatesError

AUTHORITY = "ca"
"""The name of the pair of the authority."""

REVOCATIONS = "crl"
"""The name of the file with the revocation lists."""

SERVER = "server"
"""The name of the pair that `jobworkerd serve` uses."""

AUTHORITY_KEY = f"{AUTHORITY}-key.pem"
"""The file with the key of the authority."""

PREVIOUS_KEY = f"{AUTHORITY}-previous-key.pem"
"""The file with the key of the authority that a rollover replaces."""

# A name is part of a file name and a CN, for which X.520 allows 64 characters.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")

_KEY_MODE = 0o600
_CERTIFICATE_MODE = 0o644


def certificate_file(directory: Path, name: str) -> Path:
    """Return the path of a certificate."""
    return directory / f"{name}.pem"


def key_file(directory: Path, name: str) -> Path:
    """Return the path of the key of a certificate."""
    return directory / f"{name}-key.pem"


def check_name(name: str) -> None:
    """Check a name for a new pair.

    Raises:
        CertificatesError: the name is reserved for the authority, has other characters, or ends with -key.
    """
    if not _NAME.fullmatch(name) or name.endswith("-key"):
        raise CertificatesError(
            f"{name!r} is not accepted as a name; use up to 64 letters, digits, '.', '_', '@' and '-', with "
            "a letter or digit first, and not -key at the end"
        )
    if name == REVOCATIONS:
        raise CertificatesError(f"{name!r} is the name of the revocation lists; use another name")
    if name == AUTHORITY:
        raise CertificatesError(
            f"{name!r} is the name of the authority; use `jobworkerd certs init` to create one"
        )


def names(directory: Path) -> list[str]:
    """Return the names of the certificates in a directory: the authority, the server, then the others."""
    found = {path.stem for path in directory.glob("*.pem") if not path.stem.endswith("-key")}
    found.discard(REVOCATIONS)
    first = [name for name in (AUTHORITY, SERVER) if name in found]
    return first + sorted(found.difference(first))


def existing(directory: Path, pairs: Sequence[str]) -> list[Path]:
    """Return the existing files of the named pairs."""
    paths = [
        path for name in pairs for path in (certificate_file(directory, name), key_file(directory, name))
    ]
    return [path for path in paths if os.path.lexists(path)]


def write_pairs(directory: Path, pairs: Mapping[str, tuple[bytes, bytes]], *, replace: bool) -> list[Path]:
    """Write certificates and keys, all or none of them, and return their paths.

    `pairs` maps a name to the PEM blocks of its certificate and its key. A missing directory is created.

    Raises:
        CertificatesError: a file exists and `replace` is false, or a path is not a regular file.
        OSError: a file cannot be written; all files are unchanged.
    """
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _locked(directory):
        check_writable(directory, list(pairs), replace=replace)
        return _write_all(directory, _contents(directory, pairs))


def check_writable(directory: Path, pairs: Sequence[str], *, replace: bool) -> None:
    """Check that the named pairs can be written.

    Raises:
        CertificatesError: a file exists and `replace` is false, or a path is not a regular file.
    """
    present = existing(directory, pairs)
    if present and not replace:
        listed = ", ".join(path.name for path in present)
        raise CertificatesError(f"{directory} already has {listed}; replace them with --force")
    for path in present:
        _check_regular(path)


def check_server_files(directory: Path) -> None:
    """Check that the files of the server exist, and that only their owner can use the key.

    Raises:
        CertificatesError: a file is missing or cannot be read, or other users can read the key.
    """
    key = key_file(directory, SERVER)
    for path in (certificate_file(directory, AUTHORITY), certificate_file(directory, SERVER), key):
        _check_readable(path)
    problem = key_mode_problem(key)
    if problem is not None:
        raise CertificatesError(problem)


def read_pair(directory: Path, name: str) -> tuple[bytes, bytes]:
    """Return the contents of the files of a pair.

    Raises:
        CertificatesError: a file is missing or cannot be read.
    """
    certificate, key = certificate_file(directory, name), key_file(directory, name)
    _check_readable(certificate)
    _check_readable(key)
    return certificate.read_bytes(), key.read_bytes()


def key_mode_problem(key: Path) -> str | None:
    """Return an error message if other users can read or write a key, else None."""
    mode = stat.S_IMODE(key.stat().st_mode)
    if mode & 0o077:
        return f"{key} has mode {mode:04o}, so other users can use it; run: chmod 600 {key}"
    return None


def revocations_file(directory: Path) -> Path:
    """Return the path of the revocation lists, which are optional."""
    return certificate_file(directory, REVOCATIONS)


def write_all(directory: Path, contents: Mapping[str, bytes], *, remove: Sequence[str] = ()) -> list[Path]:
    """Replace files, all or none of them, then remove others; return the paths of the written ones.

    Raises:
        CertificatesError: a path is not a regular file.
        OSError: a file cannot be written; all files are unchanged.
    """
    with _locked(directory):
        for name in (*contents, *remove):
            if os.path.lexists(directory / name):
                _check_regular(directory / name)
        written = _write_all(
            directory, {directory / name: (data, _mode(name)) for name, data in contents.items()}
        )
        for name in remove:
            (directory / name).unlink(missing_ok=True)
    return written


def _mode(name: str) -> int:
    return _KEY_MODE if name.endswith("-key.pem") else _CERTIFICATE_MODE


def unusable_revocations(path: Path, error: ValueError) -> CertificatesError:
    """Return the error for revocation lists that cannot be parsed."""
    return CertificatesError(f"{path} is unusable ({error}); restore it")


def write_revocations(directory: Path, change: Callable[[bytes], bytes]) -> Path:
    """Replace the revocation lists by the result of `change`, which gets the present ones; return the path.

    Raises:
        CertificatesError: the path is not a regular file, or the file cannot be read.
        OSError: the file cannot be written; it is unchanged.
    """
    path = revocations_file(directory)
    with _locked(directory):
        present = b""
        if os.path.lexists(path):
            _check_regular(path)
            _check_readable(path)
            present = path.read_bytes()
        _write_all(directory, {path: (change(present), _CERTIFICATE_MODE)})
    return path


def _check_regular(path: Path) -> None:
    if not stat.S_ISREG(path.lstat().st_mode):
        raise CertificatesError(f"{path} is not a regular file; move it away")


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        remedy = (
            "run this command where the key of the authority is"
            if path.name == AUTHORITY_KEY
            else f"create certificates with: jobworkerd certs init --dir {path.parent}"
        )
        raise CertificatesError(f"{path} is missing; {remedy}") from None
    except OSError as error:
        raise CertificatesError(f"{path} cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Lock a directory for one writer. The lock is on the directory itself, so it leaves no file."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
        os.fsync(fd)
    finally:
        os.close(fd)


def _contents(directory: Path, pairs: Mapping[str, tuple[bytes, bytes]]) -> dict[Path, tuple[bytes, int]]:
    contents = {}
    for name, (certificate, key) in pairs.items():
        contents[key_file(directory, name)] = (key, _KEY_MODE)
        contents[certificate_file(directory, name)] = (certificate, _CERTIFICATE_MODE)
    return contents


def _write_all(directory: Path, contents: Mapping[Path, tuple[bytes, int]]) -> list[Path]:
    """Write each file under a temporary name, then rename all of them. A failure undoes all changes.

    Missing space, quota or permission causes an error before the first rename. A rename within one directory,
    to a free name or over a regular file, needs no further resources.
    """
    suffix = secrets.token_hex(8)
    temporary = {path: directory / f".{path.name}.{suffix}" for path in contents}
    with contextlib.ExitStack() as undo:
        for path, (data, mode) in contents.items():
            undo.callback(temporary[path].unlink, missing_ok=True)
            _write_new(temporary[path], data, mode)
        for path in contents:
            if not path.exists():
                undo.callback(path.unlink, missing_ok=True)
            temporary[path].rename(path)
        undo.pop_all()
    return list(contents)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        # The umask only removes bits, so the file never has more permissions than `mode`.
        os.fchmod(fd, mode)
        file.write(data)
        file.flush()
        os.fsync(fd)
