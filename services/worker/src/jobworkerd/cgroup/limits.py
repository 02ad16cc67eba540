"""The table of all limits. A new limit is described in the module of its controller and listed here."""

from collections.abc import Mapping
from types import MappingProxyType

from jobworkerd.cgroup import cpu, cpuset, io, memory, pids
from jobworkerd.cgroup.limit import Limit

LIMITS: Mapping[str, Limit] = MappingProxyType(
    {limit.name: limit for limit in (*cpu.LIMITS, *cpuset.LIMITS, *memory.LIMITS, *io.LIMITS, *pids.LIMITS)}
)
"""Each limit by its name. The names are the fields of `model.Limits`."""
