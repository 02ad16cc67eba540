"""Messages and refusals of a scripted server."""

import signal
from collections.abc import Mapping

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from jobworker.v1 import job_output_pb2, job_pb2, job_service_pb2

StreamMessage = job_service_pb2.GetJobsStreamResponse


class Refusal(Exception):
    """Ends a call with a status when a handler raises it."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        retry_delay: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.status = status_pb2.Status(code=code.value[0], message=message)
        if reason:
            self._add(error_details_pb2.ErrorInfo(reason=reason, domain="jobworker.dev", metadata=metadata))
        if fields:
            bad = error_details_pb2.BadRequest()
            for field, description in fields.items():
                bad.field_violations.add(field=field, description=description)
            self._add(bad)
        if retry_delay:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(round(retry_delay * 1_000))
            self._add(retry)

    def _add(self, detail: Message) -> None:
        packed = Any()
        packed.Pack(detail)
        self.status.details.append(packed)


FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
RESTARTING = Refusal(grpc.StatusCode.UNAVAILABLE, "the server is restarting; retry")
STATUS_LOST = Refusal(grpc.StatusCode.INTERNAL, "Internal error from Core")
"""The status in grpc.aio of a call that the server ended while the client wrote to it."""


def end_by_signal(
    job: job_pb2.Job, number: signal.Signals, reason: job_pb2.TerminationReason.ValueType, message: str
) -> None:
    """Change the job to one that a signal ended."""
    stopped = reason == job_pb2.TERMINATION_REASON_STOPPED
    job.status = job_pb2.JOB_STATUS_STOPPED if stopped else job_pb2.JOB_STATUS_FAILED
    job.ClearField("exit_code")
    job.termination.reason = reason
    job.termination.signal = number
    job.termination.signal_name = number.name
    job.termination.message = message


def stdout(data: bytes, offset: int) -> StreamMessage:
    """Return a message with stdout."""
    return _output(data, offset, job_output_pb2.OUTPUT_SOURCE_STDOUT)


def stderr(data: bytes, offset: int) -> StreamMessage:
    """Return a message with stderr."""
    return _output(data, offset, job_output_pb2.OUTPUT_SOURCE_STDERR)


def _output(data: bytes, offset: int, source: job_output_pb2.OutputSource.ValueType) -> StreamMessage:
    return StreamMessage(payload=data, offset=offset, next_offset=offset + len(data), source=source)


def mixed(offset: int) -> StreamMessage:
    """Return `out`, `err` and ` more` on stdout, stderr and stdout; the last 3 bytes are 1 s later."""
    return StreamMessage(
        payload=b"outerr more",
        offset=offset,
        next_offset=offset + 11,
        source=job_output_pb2.OUTPUT_SOURCE_STDOUT,
        time=Timestamp(seconds=5),
        span_bytes=[8, 3],
        span_offset_usec=[0, 1_000_000],
        source_run_bytes=[3, 3, 5],
    )
