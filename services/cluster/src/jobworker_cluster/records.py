"""Records of jobs in the annotations of Pods: base64 text of serialized messages."""

import base64
import binascii

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_pb2, job_service_pb2

FINAL = frozenset(
    {
        job_pb2.JOB_STATUS_COMPLETED,
        job_pb2.JOB_STATUS_FAILED,
        job_pb2.JOB_STATUS_STOPPED,
        job_pb2.JOB_STATUS_LOST,
    }
)

_LARGE = ("command", "args", "labels", "node_selector")
"""Fields that only the initial record has: two copies of them could exceed the size of annotations."""

_INITIAL = (*_LARGE, "id", "owner", "create_time", "queue", "priority", "queue_timeout", "retry_on_lost")
"""Fields for which the initial record is authoritative. A node never changes them."""


_LIMITS = tuple(
    field.name for field in job_service_pb2.UpdateJobRequest.DESCRIPTOR.fields if field.name != "id"
)
"""Fields that UpdateJob changes in the initial record of a running job.

A final record has the last limits.
"""


_TIMES = ("create_time", "start_time", "end_time", "memory_high_lift_time")
_DURATIONS = ("timeout", "stop_grace_period", "queue_timeout")

_LAST_SECOND = 2**63 // 10**9 - 1
"""The archive stores nanoseconds in 64 bits, up to the year 2262."""

_MAX_SECONDS = 315_576_000_000
"""The longest google.protobuf.Duration."""


class InvalidRecord(ValueError):
    """Raised for a text that is not a record."""


def is_final(job: job_pb2.Job) -> bool:
    """Return whether a job has ended."""
    return job.status in FINAL


def encode(job: job_pb2.Job) -> str:
    """Return the text for an annotation."""
    return base64.b64encode(job.SerializeToString()).decode()


def decode(text: str) -> job_pb2.Job:
    """Return the job in an annotation.

    Raises:
        InvalidRecord: the text is not from `encode`, or a time is out of range.
    """
    try:
        job = job_pb2.Job.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, DecodeError, ValueError) as error:
        raise InvalidRecord(f"not a job in base64: {error}") from error
    check(job)
    return job


def check(job: job_pb2.Job) -> None:
    """Check the times in a record of a node, so that no program fails that reads them.

    Raises:
        InvalidRecord: a time is out of range.
    """
    for name in _TIMES:
        time: Timestamp = getattr(job, name)
        if not 0 <= time.nanos < 10**9 or not 0 <= time.seconds <= _LAST_SECOND:
            raise InvalidRecord(f"{name} is out of range")
    for name in _DURATIONS:
        duration: Duration = getattr(job, name)
        if not 0 <= duration.nanos < 10**9 or not 0 <= duration.seconds <= _MAX_SECONDS:
            raise InvalidRecord(f"{name} is out of range")


def strip(job: job_pb2.Job) -> job_pb2.Job:
    """Return the record of a node without the fields that the initial record has."""
    return _overlay(job, job_pb2.Job(), _LARGE)


def merge(initial: job_pb2.Job, record: job_pb2.Job) -> job_pb2.Job:
    """Return the complete record of a job, from the initial record and that of its node."""
    return _overlay(record, initial, _INITIAL if is_final(record) else (*_INITIAL, *_LIMITS))


def with_limits(initial: job_pb2.Job, job: job_pb2.Job) -> job_pb2.Job:
    """Return the initial record with the limits of another one."""
    return _overlay(initial, job, _LIMITS)


def queue_timed_out(initial: job_pb2.Job) -> job_pb2.Termination:
    """Return why a job has ended that was in the queue for its longest time."""
    longest = initial.queue_timeout.ToNanoseconds() / 1e9
    return job_pb2.Termination(
        reason=job_pb2.TERMINATION_REASON_QUEUE_TIMED_OUT,
        message=f"reached the queue timeout of {longest:g} s; the command never ran",
    )


def _overlay(base: job_pb2.Job, top: job_pb2.Job, fields: tuple[str, ...]) -> job_pb2.Job:
    """Return `base` with these fields of `top`, set or not."""
    merged = job_pb2.Job()
    merged.CopyFrom(base)
    FieldMask(paths=fields).MergeMessage(top, merged, replace_message_field=True, replace_repeated_field=True)
    return merged
