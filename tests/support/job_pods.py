"""Pods and Secrets of jobs, as the apiserver returns them."""

import itertools
from typing import Any

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cluster import job_secrets, names, pods, records
from jobworker_cluster.job_secrets import JobSecret
from jobworker_cluster.kube import Json
from jobworker_cluster.pods import JobPod, PodPlan

_versions = itertools.count(100)


def job(number: int = 1, **fields: Any) -> job_pb2.Job:
    """Return the initial record of a job."""
    found = job_pb2.Job(
        id=f"01a00000-0000-7000-8000-{number:012}",
        command="true",
        owner="CN=ada,OU=Admin",
        status=job_pb2.JOB_STATUS_QUEUED,
        max_cpu=100,
        max_memory=64,
    )
    found.create_time.FromSeconds(1_700_000_000)
    found.MergeFrom(job_pb2.Job(**fields))
    return found


def secret_item(found: job_pb2.Job, request_id: str = "", attempt: int = 1, **metadata: str) -> Json:
    """Return the Secret of a job."""
    request = job_service_pb2.CreateJobRequest(command=found.command, request_id=request_id)
    key = names.request_key(found.owner, request_id)
    item = job_secrets.build(names.secret_name(found.id, key), found, request, "hash")
    item["metadata"] |= {
        "uid": f"secret-{found.id}",
        "resourceVersion": str(next(_versions)),
        "creationTimestamp": "2026-01-01T00:00:00Z",
        **metadata,
    }
    if attempt > 1:
        item["metadata"]["annotations"][names.ATTEMPT] = str(attempt)
    return item


def accepted(found: job_pb2.Job) -> JobSecret:
    """Return the Secret of a job, as a gateway reads it."""
    return job_secrets.read(secret_item(found))


def pod_item(
    found: job_pb2.Job,
    *,
    uid: str = "uid-1",
    node: str = "",
    record: job_pb2.Job | None = None,
    phase: str = "Pending",
    deleted: bool = False,
    gateway: str = "this",
    secret: JobSecret | None = None,
    attempt: int = 1,
    **annotations: str,
) -> Json:
    """Return the Pod of an attempt."""
    item = pods.build(PodPlan(secret or accepted(found), attempt, gateway, "jobworker-normal"))
    item["metadata"] |= {"namespace": "jobworker", "uid": uid, "resourceVersion": str(next(_versions))}
    if record:
        item["metadata"]["annotations"][names.RECORD] = records.encode(records.strip(record))
    for name, value in annotations.items():
        item["metadata"]["annotations"][f"{names.PREFIX}/{name.replace('_', '-')}"] = value
    if deleted:
        item["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    if node:
        item["spec"]["nodeName"] = node
    item["status"] = {"phase": phase}
    return item


def pod(found: job_pb2.Job, **fields: Any) -> JobPod:
    """Return the Pod of an attempt, as a gateway reads it."""
    return pods.read(pod_item(found, **fields))


def ran(found: job_pb2.Job, status: job_pb2.JobStatus.ValueType, reason: str = "EXITED") -> job_pb2.Job:
    """Return the record of a node about a job that has started."""
    record = job_pb2.Job()
    record.CopyFrom(found)
    record.status = status
    record.node = "node-1"
    record.start_time.FromSeconds(1_700_000_001)
    if records.is_final(record):
        record.end_time.FromSeconds(1_700_000_002)
        record.termination.reason = job_pb2.TerminationReason.Value(f"TERMINATION_REASON_{reason}")
    return record
