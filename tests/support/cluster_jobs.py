"""Jobs of a cluster for tests, as messages."""

from typing import Any

from jobworker.v1 import job_pb2
from jobworkerd.job_id import time_of

BEGIN_NS = 1_790_000_000 * 10**9
"""Creation time of the first job."""

ALICE, BOB = "CN=alice,OU=Admin", "CN=bob,OU=Admin"


def job_id(number: int) -> str:
    """Return an id. The time in it grows with the number, by 10 s."""
    milliseconds = f"{BEGIN_NS // 10**6 + number * 10**4:012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}-7000-8000-{number:012x}"


def job(new_id: str, status: str = "RUNNING", **fields: Any) -> job_pb2.Job:
    """Return a job with an id, whose creation time is in the id."""
    found = job_pb2.Job(**{"owner": ALICE, "command": "true", **fields})
    found.id, found.status = new_id, job_pb2.JobStatus.Value(f"JOB_STATUS_{status}")
    found.create_time.FromNanoseconds(time_of(new_id))
    return found


def final(new_id: str, status: str = "COMPLETED", **fields: Any) -> job_pb2.Job:
    """Return a final job that ran on node `one` for a second."""
    found = job(new_id, status, **{"node": "one", "attempt": 1, **fields})
    found.start_time.CopyFrom(found.create_time)
    found.end_time.FromNanoseconds(time_of(new_id) + 10**9)
    found.termination.message = "ended"
    return found
