"""Describes the host: its directory of logs, and its resources."""

import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from jobworkerd.config import CapacityConfig, Config


@dataclass(frozen=True)
class Host:
    """The directory of the logs, and the resources of the host, as in GetHostResponse.

    CPUs and memory can be added and removed while the server runs.
    """

    jobs_dir: Path
    capacity: CapacityConfig
    max_jobs: int
    version: str
    kernel: str

    @property
    def max_cpu(self) -> int:
        """The configured CPU, or else that of all cores, in percent of one core."""
        return self.capacity.cpu or 100 * len(os.sched_getaffinity(0))

    @property
    def max_memory(self) -> int:
        """The configured memory, or else all of it, in MiB."""
        return self.capacity.memory or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20


def describe_host(config: Config, jobs_dir: Path) -> Host:
    """Describe this host: its resources are the configured capacity, or else all of them."""
    return Host(
        jobs_dir=jobs_dir,
        capacity=config.capacity,
        max_jobs=config.max_jobs,
        version=version("jobworker-worker"),
        kernel=os.uname().release,
    )
