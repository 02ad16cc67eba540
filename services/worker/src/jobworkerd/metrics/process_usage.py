"""Samples of the CPU time and the memory of this process."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from jobworkerd.metrics.definitions import PROCESS_CPU_TIME, PROCESS_MEMORY
from jobworkerd.metrics.instruments import Sample, sample

_STATM = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def samples(process: str) -> Iterator[Sample]:
    """Yield the samples of this process, whose kind is `process`, such as `supervisor`."""
    yield sample(PROCESS_CPU_TIME, time.process_time(), process)
    with suppress(OSError):  # without a free descriptor
        pages = int(_STATM.read_text().split()[1])
        yield sample(PROCESS_MEMORY, pages * _PAGE_BYTES, process)
