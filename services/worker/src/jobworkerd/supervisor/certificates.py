"""Reads the certificate files of the server for the API processes, which may not read the key."""

from pathlib import Path

from jobworkerd.exhaustion import is_exhaustion
from jobworkerd.protocol.messages import Certificates

_FILES = ("ca.pem", "server.pem", "server-key.pem")


def read(directory: Path, known: tuple[int, ...]) -> Certificates:
    """Return the files; without their contents if their version is `known`."""
    paths = [directory / name for name in _FILES]
    try:
        stats = [path.stat() for path in paths]
        # The inode, too, because `cp -p` and backups restore old modification times.
        version = tuple(number for each in stats for number in (each.st_mtime_ns, each.st_ino))
        if version == known:
            return Certificates(version)
        ca, certificate, key = (path.read_bytes() for path in paths)
        return Certificates(version, ca, certificate, key)
    except OSError as error:
        remedy = "create certificates with `jobworkerd certs init`, or set their directory with --certs-dir"
        if is_exhaustion(error):
            remedy = "the host is exhausted; the server reads the files again later"
        return Certificates(problem=f"{error.filename or directory}: {error.strerror}; {remedy}")
