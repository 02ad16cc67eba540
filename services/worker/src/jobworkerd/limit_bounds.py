"""The accepted values of each limit: one table for requests, settings and the API reference."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

MAX_INT64 = 2**63 - 1

MIB = 2**20

MAX_LABELS = 64
"""Labels that a job can have at most."""

MAX_SCRATCH = 16_777_216
"""MiB, as for `max_memory`, which the private directories count towards."""


@dataclasses.dataclass(frozen=True, slots=True)
class Bound:
    """The accepted values of a request field, or of one part of it.

    `part` names the part, such as `each argument`. `zero` is the meaning of 0 where 0 is accepted in addition
    to the range. `unset` is the meaning of a missing or empty value.
    """

    minimum: int
    maximum: int
    unit: str = ""
    part: str = ""
    zero: str = ""
    unset: str = ""

    @property
    def accepted(self) -> str:
        """The range in words, such as `1 to 10000, or 0 for the kernel's default`."""
        limit = "or more" if self.maximum == MAX_INT64 else f"to {self.maximum}"
        values = f"{self.minimum} {limit} {self.unit}".rstrip()
        return f"{values}, or 0 for {self.zero}" if self.zero else values

    def negative_problem(self, value: int) -> str:
        """Return an error message for a negative value, else an empty string."""
        return self.value_problem(value) if value < 0 else ""

    def value_problem(self, value: int) -> str:
        """Return an error message for a value out of range, else an empty string."""
        if self.minimum <= value <= self.maximum or (value == 0 and self.zero):
            return ""
        negative = value < 0 <= self.minimum
        fault = "negative" if negative else "too small" if value < self.minimum else "too large"
        return f"{value} is {fault}; use {self.accepted}"

    def size_problem(self, size: int) -> str:
        """Return an error message for too many bytes, characters or entries, else an empty string."""
        return "" if size <= self.maximum else f"has {size} {self.unit}; use at most {self.maximum}"


_SERVER = "the server's default"

LIMIT_BOUNDS: Mapping[str, Bound] = MappingProxyType(
    {
        "max_cpu": Bound(1, 100_000, "% of one core", zero=_SERVER),
        "max_memory": Bound(1, 16_777_216, "MiB", zero=_SERVER),
        "max_io_bps": Bound(1, 2**40, "bytes per second", zero=_SERVER),
        # PID_MAX_LIMIT of linux/threads.h
        "max_pids": Bound(1, 4_194_304, "processes and threads", zero=_SERVER),
        "max_io_iops": Bound(1, 2**31, "operations per second", zero=_SERVER),
        # CGROUP_WEIGHT_MAX of linux/cgroup.h
        "cpu_weight": Bound(1, 10_000, zero="the kernel's default of 100"),
    }
)
"""Limits that are numbers, by field name. `cores` checks the numbers in `cpu_set`."""
