"""The address of the server of this host."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HostAddress:
    """Address of the server of this host, and the files of the certificate with the OU `Gateway` for it."""

    target: str
    server_name: str
    ca: Path
    certificate: Path
    key: Path

    def file_times(self) -> tuple[int, ...]:
        """Return a value that changes when a file is replaced.

        Raises:
            OSError: a file does not exist.
        """
        return tuple(path.stat().st_mtime_ns for path in (self.ca, self.certificate, self.key))
