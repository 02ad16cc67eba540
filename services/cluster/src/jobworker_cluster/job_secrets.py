"""The Secret of a job: what the cluster has accepted. It exists until the job is in the archive.

The request is in a Secret because environment variables can be secret. A Pod only refers to it.
"""

import base64
import binascii
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cluster import names
from jobworker_cluster.kube import Json
from jobworker_cluster.trace_headers import TraceHeaders

_NO_TRACE = TraceHeaders()


class InvalidSecret(ValueError):
    """Raised for a Secret that has the label of a job but lacks other parts. A gateway did not create it."""


@dataclass(frozen=True)
class JobSecret:
    """An accepted job. `next_attempt` is 1 until the first attempt has ended without a result."""

    name: str
    uid: str
    version: int
    create_time: str
    job: job_pb2.Job
    request: job_service_pb2.CreateJobRequest
    request_hash: str
    next_attempt: int

    @property
    def request_key(self) -> str:
        """The key of the request; empty if the client sent no request id."""
        return names.key_of_secret(self.name)


def build(
    name: str,
    job: job_pb2.Job,
    request: job_service_pb2.CreateJobRequest,
    request_hash: str,
    trace: TraceHeaders = _NO_TRACE,
) -> Json:
    """Return the Secret of an accepted job."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": name,
            "labels": {names.JOB: "true", names.JOB_ID: job.id},
            "annotations": {names.REQUEST_HASH: request_hash, **trace.annotations},
        },
        "data": {
            names.SPEC_KEY: base64.b64encode(request.SerializeToString()).decode(),
            names.JOB_KEY: base64.b64encode(job.SerializeToString()).decode(),
        },
    }


def read(secret: Json) -> JobSecret:
    """Return the accepted job in a Secret.

    Raises:
        InvalidSecret: a part is missing or malformed.
    """
    metadata, data = secret["metadata"], secret.get("data") or {}
    annotations = metadata.get("annotations") or {}
    try:
        return JobSecret(
            name=metadata["name"],
            uid=metadata["uid"],
            version=int(metadata["resourceVersion"]),
            create_time=metadata["creationTimestamp"],
            job=job_pb2.Job.FromString(base64.b64decode(data[names.JOB_KEY], validate=True)),
            request=job_service_pb2.CreateJobRequest.FromString(
                base64.b64decode(data[names.SPEC_KEY], validate=True)
            ),
            request_hash=annotations.get(names.REQUEST_HASH, ""),
            next_attempt=int(annotations.get(names.ATTEMPT, "1")),
        )
    except (KeyError, ValueError, binascii.Error, DecodeError) as error:
        raise InvalidSecret(f"Secret {metadata.get('name')}: {error}") from error
