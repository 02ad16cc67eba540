"""Checks the limits of a request and fills in the server's defaults."""

import msgspec

from jobworker.v1 import job_service_pb2
from jobworkerd import cores
from jobworkerd.config import Defaults
from jobworkerd.limit_bounds import LIMIT_BOUNDS
from jobworkerd.model import Limits, LimitsUpdate

Request = job_service_pb2.CreateJobRequest | job_service_pb2.UpdateJobRequest

_CPU_SET = "cpu_set"


def problems(request: Request) -> dict[str, str]:
    """Return an error message for each limit; it is empty if the value is accepted."""
    found = {name: bound.value_problem(getattr(request, name)) for name, bound in LIMIT_BOUNDS.items()}
    return found | {_CPU_SET: _cores_problem(request.cpu_set)}


def limits(request: Request, defaults: Defaults) -> Limits:
    """Return the limits of a request without problems."""
    given = {name: getattr(request, name) or getattr(defaults, name, 0) for name in LIMIT_BOUNDS}
    return Limits(**given, cpu_set=cores.to_text(cores.parse(request.cpu_set)))


def update(request: job_service_pb2.UpdateJobRequest, defaults: Defaults) -> LimitsUpdate:
    """Return the limits that a request without problems changes."""
    wanted = msgspec.structs.asdict(limits(request, defaults))
    present = {field.name for field, _ in request.ListFields()}
    return LimitsUpdate(**{name: value for name, value in wanted.items() if name in present})


def _cores_problem(text: str) -> str:
    try:
        cores.parse(text)
    except ValueError as error:
        return f"{error}; use a list of cores such as 0-1,3"
    return ""
