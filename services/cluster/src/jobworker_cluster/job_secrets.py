"""The Secret of a job: what the cluster has accepted. It exists until the job is in the archive.

The request is in a Secret because environment variables can be secret. A Pod only refers to it.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cluster import names
from jobworker_cluster.kube import Json
from jobworker_cluster.trace_headers import TraceHeaders

_NO_TRACE = TraceHeaders()

M = TypeVar("M", bound=Message)


class InvalidSecret(ValueError):
    """Raised for a Secret that has the label of a job, but other parts are missing or malformed.

    It was changed by hand, or a gateway did not create it.
    """


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


@dataclass(frozen=True)
class DamagedSecret:
    """An accepted job that cannot start any more, because its Secret was changed by hand.

    `why` says what cannot be read. `job` is the initial record, or only the id if that cannot be read.
    """

    name: str
    uid: str
    job: job_pb2.Job
    request_hash: str
    why: str

    @property
    def request_key(self) -> str:
        """See JobSecret."""
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
            job=_job(metadata["name"], data),
            request=_part(data, names.SPEC_KEY, job_service_pb2.CreateJobRequest),
            request_hash=annotations.get(names.REQUEST_HASH, ""),
            next_attempt=next_attempt(annotations),
        )
    except (KeyError, ValueError) as error:
        raise InvalidSecret(f"Secret {metadata.get('name')}: {error}") from error


def examine(secret: Json) -> JobSecret | DamagedSecret:
    """Return the accepted job in a Secret, or the parts of it that can be read.

    Raises:
        InvalidSecret: neither the data nor the label nor the name has the id of the job.
    """
    try:
        return read(secret)
    except InvalidSecret as error:
        metadata, annotations = secret["metadata"], secret["metadata"].get("annotations") or {}
        name, labels = metadata["name"], metadata.get("labels") or {}
        job_id = names.job_of_secret(name) or labels.get(names.JOB_ID)
        if not job_id:
            raise
        try:
            job = _job(name, secret.get("data") or {})
        except ValueError:
            job = job_pb2.Job(id=job_id)
        return DamagedSecret(name, metadata["uid"], job, annotations.get(names.REQUEST_HASH, ""), str(error))


def next_attempt(annotations: Mapping[str, str]) -> int:
    """Return the number of the next attempt in the annotations of a Secret.

    Raises:
        ValueError: it is not a number.
    """
    text = annotations.get(names.ATTEMPT, "1")
    if not text.isdecimal():
        raise ValueError(f"the annotation {names.ATTEMPT} is {text!r}, not a number")
    return int(text)


def _job(name: str, data: Mapping[str, str]) -> job_pb2.Job:
    job = _part(data, names.JOB_KEY, job_pb2.Job)
    # An empty value and a value from another Secret are valid messages, too.
    if not job.id or job.id != (names.job_of_secret(name) or job.id):
        raise ValueError(f"{names.JOB_KEY} is not the record of this job")
    return job


def _part(data: Mapping[str, str], key: str, kind: type[M]) -> M:
    if key not in data:
        raise ValueError(f"{key} is missing")
    try:
        return kind.FromString(base64.b64decode(data[key], validate=True))
    except (binascii.Error, DecodeError) as error:
        raise ValueError(f"{key} is not a {kind.DESCRIPTOR.name}") from error
