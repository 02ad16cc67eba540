"""Reads the certificate files of the gateway, which runs as a user that can read them."""

import asyncio
from pathlib import Path

from jobworkerd import certificate_files
from jobworkerd.protocol.messages import Certificates


class CertificateDirectory:
    """The `ca.pem`, `crl.pem`, `server.pem` and `server-key.pem` in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def certificates(self, known: tuple[int, ...]) -> Certificates:
        """Return the files, without their contents if `known` is their version."""
        return await asyncio.to_thread(certificate_files.read, self._directory, known)
