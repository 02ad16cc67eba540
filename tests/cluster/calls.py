"""Calls that several tests of a cluster make."""

from jobworker.v1 import job_pb2, job_service_pb2
from live_client import Client

_NOT_FINAL = (job_pb2.JOB_STATUS_QUEUED, job_pb2.JOB_STATUS_INITIALIZING, job_pb2.JOB_STATUS_RUNNING)


def on(node: str) -> dict[str, str]:
    """Return a node selector for one node."""
    return {"kubernetes.io/hostname": node}


async def stop_all(client: Client) -> None:
    """Stop all jobs, so that the next test finds an idle cluster."""
    request = job_service_pb2.ListJobsRequest(statuses=_NOT_FINAL)
    while jobs := (await client.stub.ListJobs(request, timeout=30)).jobs:
        for job in jobs:
            await client.stop(job.id, seconds=0)
