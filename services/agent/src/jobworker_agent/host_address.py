"""The address of the server of this host."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from jobworker_cluster.replaced_files import Version, version


@dataclass(frozen=True)
class HostAddress:
    """Address of the server of this host, and the files of the certificate with the OU `Gateway` for it."""

    target: str
    server_name: str
    ca: Path
    certificate: Path
    key: Path

    def version(self) -> Version:
        """Return a value that changes when a file is replaced; an empty one while a file is missing."""
        return version((self.ca, self.certificate, self.key))

    def check(self) -> None:
        """Check that the files can be used: gRPC reports only that it cannot connect.

        Raises:
            OSError: a file cannot be read, is damaged, or the key belongs to another certificate.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca)
        # With an empty password, an encrypted key is an error instead of a prompt on the terminal.
        context.load_cert_chain(self.certificate, self.key, password="")
