"""The resources that a server uses."""

from dataclasses import dataclass

import psutil

from live import Server

_MIB = 2**20


@dataclass(frozen=True)
class Footprint:
    """Resources of the keeper, the supervisor and the API processes, and the number of all processes."""

    descriptors: int
    threads: int
    processes: int
    mib: float

    @classmethod
    def of(cls, server: Server) -> "Footprint":
        """Return what a server uses now."""
        assert server.process
        ours = [psutil.Process(server.process.pid), server.supervisor, *server.api_processes()]
        return cls(
            sum(each.num_fds() for each in ours),
            sum(each.num_threads() for each in ours),
            len(server.descendants()),
            sum(each.memory_info().rss for each in ours) / _MIB,
        )

    def is_within(self, other: "Footprint", *, threads: int = 0, mib: float) -> bool:
        """Return whether this is at most the other footprint, with some threads and memory more."""
        return (
            self.descriptors <= other.descriptors
            and self.threads <= other.threads + threads
            and self.processes <= other.processes
            and self.mib <= other.mib + mib
        )
