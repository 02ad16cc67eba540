"""The place where a program of a cluster runs: this host, or a network namespace."""

import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """An address, and the network namespace that has it. None = that of the tests."""

    name: str
    address: str
    namespace: Path | None = None

    @property
    def prefix(self) -> tuple[str, ...]:
        """The start of a command that runs in this place.

        `ip netns exec` would also mount another /sys, which has no cgroups.
        """
        return ("nsenter", f"--net={self.namespace}") if self.namespace else ()

    def port(self, usual: int) -> int:
        """Return the usual port of a program, or a free one of this host, which others use, too."""
        if self.namespace:
            return usual
        with socket.socket() as unused:
            unused.bind((self.address, 0))
            port: int = unused.getsockname()[1]
            return port


LOOPBACK = Place("loopback", "127.0.0.1")
