"""Reads the certificate files of the server for the API processes, which may not read the key."""

import contextlib
from pathlib import Path

from jobworkerd.exhaustion import is_exhaustion
from jobworkerd.protocol.messages import Certificates

_FILES = ("ca.pem", "server.pem", "server-key.pem")
_CRL = "crl.pem"
_NO_FILE = (0, 0, 0)


def read(directory: Path, known: tuple[int, ...]) -> Certificates:
    """Return the files; without their contents if their version is `known`. Only `crl.pem` can be missing."""
    try:
        version = _version(directory)
        if version == known:
            return Certificates(version)
        ca, certificate, key = ((directory / name).read_bytes() for name in _FILES)
        return Certificates(version, ca, certificate, key, _revocations(directory))
    except OSError as error:
        remedy = "create certificates with `jobworkerd certs init`, or set their directory with --certs-dir"
        if is_exhaustion(error):
            remedy = "the host is exhausted; the server reads the files again later"
        return Certificates(problem=f"{error.filename or directory}: {error.strerror}; {remedy}")


def _version(directory: Path) -> tuple[int, ...]:
    numbers = [_numbers(directory / name) for name in _FILES]
    try:
        numbers.append(_numbers(directory / _CRL))
    except FileNotFoundError:
        numbers.append(_NO_FILE)
    return tuple(number for each in numbers for number in each)


def _numbers(path: Path) -> tuple[int, int, int]:
    # The inode, too, because `cp -p` and backups restore old modification times. The size, too, because a
    # file that is written in place can change twice within one tick of the kernel's clock.
    found = path.stat()
    return found.st_mtime_ns, found.st_ino, found.st_size


def _revocations(directory: Path) -> bytes | None:
    with contextlib.suppress(FileNotFoundError):
        return (directory / _CRL).read_bytes()
    return None
