"""Describes the host. The API process does that before it drops its privileges."""

import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from jobworkerd.config import Config


@dataclass(frozen=True)
class Host:
    """The directory of the logs, and the resources of the host, as in GetHostResponse."""

    jobs_dir: Path
    max_cpu: int
    max_memory: int
    max_jobs: int
    version: str
    kernel: str


def describe_host(config: Config, jobs_dir: Path) -> Host:
    """Describe this host: its resources are the configured capacity, or else all of them."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    return Host(
        jobs_dir=jobs_dir,
        max_cpu=config.capacity.cpu or 100 * len(os.sched_getaffinity(0)),
        max_memory=config.capacity.memory or memory,
        max_jobs=config.max_jobs,
        version=version("jobworker-worker"),
        kernel=os.uname().release,
    )
