"""The files of the server's certificate: the API processes ask for them, as they cannot read the key."""

from pathlib import Path

from jobworkerd.exhaustion import is_exhaustion
from jobworkerd.protocol.messages import Certificates

_FILES = ("ca.pem", "server.pem", "server-key.pem")


def read(directory: Path, known: tuple[int, ...]) -> Certificates:
    """Returns the files, without their contents if they are those that are known."""
    paths = [directory / name for name in _FILES]
    try:
        stats = [path.stat() for path in paths]
        # The inode, too: `cp -p` and backups restore an old modification time.
        version = tuple(number for each in stats for number in (each.st_mtime_ns, each.st_ino))
        if version == known:
            return Certificates(version)
        ca, certificate, key = (path.read_bytes() for path in paths)
        return Certificates(version, ca, certificate, key)
    except OSError as error:
        cure = "make certificates with `jobworkerd certs init`, or name their directory with --certs-dir"
        if is_exhaustion(error):
            cure = "the server's host is exhausted, and the files are read again"
        return Certificates(problem=f"{error.filename or directory}: {error.strerror}; {cure}")
