"""Checks the limits that a request asks for, and fills in the server's defaults.

The bounds are those that proto/jobworker/v1/job_service.proto promises.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from jobworker.v1 import job_service_pb2
from jobworkerd import cores
from jobworkerd.config import Defaults
from jobworkerd.model import Limits, LimitsUpdate

Request = job_service_pb2.CreateJobRequest | job_service_pb2.UpdateJobRequest

_MOST: Mapping[str, int] = MappingProxyType(
    {
        "max_cpu": 100_000,
        "max_memory": 16_777_216,
        "max_io_bps": 2**40,
        "max_io_iops": 2**31,
        "max_pids": 4_194_304,  # PID_MAX_LIMIT of the kernel's linux/threads.h
        "cpu_weight": 10_000,  # CGROUP_WEIGHT_MAX of linux/cgroup.h
    }
)


def problems(request: Request) -> dict[str, str]:
    """Returns what is wrong with each limit's value, an empty sentence if nothing is."""
    found = {name: _range_problem(getattr(request, name), most) for name, most in _MOST.items()}
    return found | {"cpu_set": _cores_problem(request.cpu_set)}


def limits(request: Request, defaults: Defaults) -> Limits:
    """Returns the limits of a request without problems."""
    return Limits(
        max_cpu=request.max_cpu or defaults.max_cpu,
        max_memory=request.max_memory or defaults.max_memory,
        max_io_bps=request.max_io_bps or defaults.max_io_bps,
        max_io_iops=request.max_io_iops or defaults.max_io_iops,
        max_pids=request.max_pids or defaults.max_pids,
        cpu_weight=request.cpu_weight,
        cpu_set=cores.to_text(cores.parse(request.cpu_set)),
    )


def update(request: job_service_pb2.UpdateJobRequest, defaults: Defaults) -> LimitsUpdate:
    """Returns those limits that a request without problems sets."""
    wanted = msgspec.structs.asdict(limits(request, defaults))
    present = {field.name for field, _ in request.ListFields()}
    return LimitsUpdate(**{name: value for name, value in wanted.items() if name in present})


def _range_problem(value: int, most: int) -> str:
    return "" if 0 <= value <= most else f"must be from 0 (the server's default) to {most:,}, not {value:,}"


def _cores_problem(text: str) -> str:
    try:
        cores.parse(text)
    except ValueError as error:
        return f"must be a list of cores such as 0-1,3: {error}"
    return ""
