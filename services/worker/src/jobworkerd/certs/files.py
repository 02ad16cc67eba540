"""Keeps certificates and keys in one directory: `NAME.pem` and `NAME-key.pem`.

A set is written as a whole or not at all. A key is readable by its owner alone from its first byte, and
nothing is overwritten unless that is asked for. No cryptography here: `jobworkerd serve` looks at the
files, too, and has to start fast.
"""

import contextlib
import fcntl
import os
import re
import secrets
import ssl
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jobworkerd.certs.errors import CertificatesError

AUTHORITY = "ca"
"""The name of the authority's pair."""

SERVER = "server"
"""The name of the pair that `jobworkerd serve` uses."""

# A name is a file's name and a certificate's CN, which X.520 bounds at 64 characters.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")

_KEY_MODE = 0o600
_CERTIFICATE_MODE = 0o644


def certificate_file(directory: Path, name: str) -> Path:
    """Returns the path of the certificate that is called `name`."""
    return directory / f"{name}.pem"


def key_file(directory: Path, name: str) -> Path:
    """Returns the path of the key of the certificate that is called `name`."""
    return directory / f"{name}-key.pem"


def check_name(name: str) -> None:
    """Checks a name for a new pair.

    Raises:
        CertificatesError: it is the authority's, or its files could not be told from another pair's.
    """
    if not _NAME.fullmatch(name) or name.endswith("-key"):
        raise CertificatesError(
            f"{name!r} is not accepted as a name: letters, digits, '.', '_', '@' and '-', beginning with a "
            "letter or digit, at most 64, not ending with -key"
        )
    if name == AUTHORITY:
        raise CertificatesError(f"the name {name!r} is the authority's; only init makes one")


def names(directory: Path) -> list[str]:
    """Returns the names of the certificates in a directory: the authority, the server, then the rest."""
    found = {path.stem for path in directory.glob("*.pem") if not path.stem.endswith("-key")}
    first = [name for name in (AUTHORITY, SERVER) if name in found]
    return first + sorted(found.difference(first))


def existing(directory: Path, pairs: Sequence[str]) -> list[Path]:
    """Returns the files of the named pairs that are there already."""
    paths = [
        path for name in pairs for path in (certificate_file(directory, name), key_file(directory, name))
    ]
    return [path for path in paths if os.path.lexists(path)]


def write_pairs(directory: Path, pairs: Mapping[str, tuple[bytes, bytes]], *, replace: bool) -> list[Path]:
    """Writes certificates and keys, all of them or none, and returns their paths.

    `pairs` maps a name to the PEM blocks of its certificate and its key. The directory is made if need be.

    Raises:
        CertificatesError: a file is there already and `replace` is false, or is no regular file.
        OSError: the file system refused; nothing has changed then.
    """
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _locked(directory):
        check_writable(directory, list(pairs), replace=replace)
        return _write_all(directory, _contents(directory, pairs))


def check_writable(directory: Path, pairs: Sequence[str], *, replace: bool) -> None:
    """Checks that the named pairs may be written.

    Raises:
        CertificatesError: a file is there already and `replace` is false, or is no regular file.
    """
    present = existing(directory, pairs)
    if present and not replace:
        listed = ", ".join(path.name for path in present)
        raise CertificatesError(f"{directory} already has {listed}; --force replaces what is there")
    for path in present:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise CertificatesError(f"{path} is not a regular file; move it away")


def check_server_files(directory: Path) -> None:
    """Checks what the server needs: its authority, its certificate and its key.

    Raises:
        CertificatesError: one is missing, cannot be read or used, or others may read the key.
    """
    key = key_file(directory, SERVER)
    certificate = certificate_file(directory, SERVER)
    authority = certificate_file(directory, AUTHORITY)
    for path in (authority, certificate, key):
        _check_readable(path)
    problem = key_mode_problem(key)
    if problem is not None:
        raise CertificatesError(problem)
    _check_usable(authority, certificate, key)


def read_pair(directory: Path, name: str) -> tuple[bytes, bytes]:
    """Returns the contents of a pair's certificate and key files.

    Raises:
        CertificatesError: one is missing or cannot be read.
    """
    certificate, key = certificate_file(directory, name), key_file(directory, name)
    _check_readable(certificate)
    _check_readable(key)
    return certificate.read_bytes(), key.read_bytes()


def key_mode_problem(key: Path) -> str | None:
    """Returns a sentence if others than its owner may read or write a key, else None."""
    mode = stat.S_IMODE(key.stat().st_mode)
    if mode & 0o077:
        return f"{key} has mode {mode:04o}, so others than its owner can use it; run: chmod 600 {key}"
    return None


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        raise CertificatesError(
            f"{path} is missing; make certificates with: jobworkerd certs init --dir {path.parent}"
        ) from None
    except OSError as error:
        raise CertificatesError(f"{path} cannot be read: {error.strerror}") from error


def _check_usable(authority: Path, certificate: Path, key: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password makes an encrypted key an error instead of a question on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        raise CertificatesError(
            f"{certificate} and {key} are not a PEM certificate and its unencrypted key "
            f"({error.reason or error})"
        ) from error
    try:
        context.load_verify_locations(authority)
    except ssl.SSLError as error:
        raise CertificatesError(f"{authority} is not a PEM certificate ({error.reason or error})") from error


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keeps two writers of one directory apart; the lock is the directory itself and leaves no file."""
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
    """Writes each file under a temporary name, then renames all; a failure takes everything back.

    Whatever can go wrong (space, quota, permission) goes wrong before the first rename: a rename within
    one directory, over a name that is free or a regular file's, needs nothing more.
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
        # The umask can only have taken bits away: the file was never more open than `mode`.
        os.fchmod(fd, mode)
        file.write(data)
        file.flush()
        os.fsync(fd)
