"""Calls that several tests of a cluster make."""

import asyncio

from jobworker.v1 import job_pb2
from live_client import Client


def on(node: str) -> dict[str, str]:
    """Return a node selector for one node."""
    return {"kubernetes.io/hostname": node}


async def started(client: Client, job_id: str) -> job_pb2.Job:
    """Wait until a job runs, and return it."""
    async with asyncio.timeout(60):
        while (job := await client.get(job_id)).status != job_pb2.JOB_STATUS_RUNNING:
            assert job.status in {job_pb2.JOB_STATUS_QUEUED, job_pb2.JOB_STATUS_INITIALIZING}, job
            await asyncio.sleep(0.02)
    return job
