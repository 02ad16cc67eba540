"""The certificate with which the gateway calls the servers of the nodes."""

import dataclasses
from pathlib import Path

import grpc
import structlog

from jobworker_client import ClientConfig
from jobworker_client.channel import ChannelParts, channel_parts
from jobworker_client.errors import ConfigError
from jobworker_cluster import client_certificates
from jobworker_cluster.client_certificates import ClientCertificate
from jobworker_cluster.replaced_files import UnusableFiles, Version, version
from jobworkerd.startup import CannotStart


@dataclasses.dataclass(frozen=True)
class CertificateFiles:
    """The files of the gateway's certificate for nodes."""

    ca: Path
    cert: Path
    key: Path

    def version(self) -> Version:
        """Return a value that changes when a file is replaced; an empty one while a file is missing."""
        return version((self.ca, self.cert, self.key))


class NodeCertificate:
    """The files as they were when they could be used last. Replacing them needs no restart."""

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._version: Version | None = None
        self._unusable = UnusableFiles()
        self._credentials: grpc.ChannelCredentials | None = None
        self.current: ClientCertificate | None = None
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    def check(self) -> None:
        """Check that the files of the gateway can be used.

        Raises:
            CannotStart: a file is missing or cannot be used.
        """
        self._version = self._files.version()
        try:
            self._load()
        except (ConfigError, OSError, ValueError) as error:
            raise CannotStart(
                f"certificate for nodes: {error}; create it with "
                "`jobworkerd certs issue gateway --role gateway`"
            ) from error

    def channel_parts(self, address: str) -> ChannelParts:
        """Return the arguments of a connection to a node.

        Raises:
            ConfigError: the address is not HOST:PORT, or the certificate could not be used so far.
        """
        return channel_parts(self._config(address), self._credentials)

    def is_renewed(self) -> bool:
        """Tell whether the files have changed, and can be used, since the last call."""
        current = self._files.version()
        if current == self._version:
            return False
        try:
            self._load()
        except (ConfigError, OSError, ValueError) as error:
            if self._unusable.is_due(current):
                self._log.warning("certificate for nodes not usable", reason=str(error))
            return False
        is_first, self._version = self._version is None, current
        self._unusable.clear()
        if not is_first:
            self._log.info("certificate for nodes renewed")
        return not is_first

    def _load(self) -> None:
        """Load the files.

        Raises:
            ConfigError: a file is missing or cannot be used.
            OSError: the certificate has just been removed.
            ValueError: the certificate cannot be parsed.
        """
        credentials = channel_parts(self._config("localhost")).credentials
        path = self._files.cert
        self.current = client_certificates.for_nodes(str(path), path.read_bytes())
        self._credentials = credentials

    def _config(self, address: str) -> ClientConfig:
        return ClientConfig(server=address, **dataclasses.asdict(self._files))
