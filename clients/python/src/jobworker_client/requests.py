"""Build the requests of the API from Python values."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Unpack

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_attach_pb2, job_output_pb2, job_pb2, job_service_pb2, job_watch_pb2
from jobworker_client.options import (
    AttachOptions,
    JobFilter,
    JobOptions,
    LimitChanges,
    Limits,
    Seconds,
    StreamOptions,
    WatchFilter,
)

__all__ = [
    "attach_start",
    "attached_output",
    "create_request",
    "list_request",
    "stop_request",
    "stream_request",
    "update_request",
    "watch_request",
    "with_request_id",
]


def create_request(
    command: str, args: Iterable[str], **options: Unpack[JobOptions]
) -> job_service_pb2.CreateJobRequest:
    """Return the request of CreateJob."""
    limits = asdict(options.get("limits", Limits()))
    return job_service_pb2.CreateJobRequest(
        command=command,
        args=args,
        limits_policy=limits.pop("policy"),
        working_directory=options.get("working_directory", ""),
        env=options.get("env"),
        timeout=_duration(options.get("timeout")),
        labels=options.get("labels"),
        stop_signal=options.get("stop_signal", ""),
        stop_grace_period=_duration(options.get("stop_grace_period")),
        request_id=options.get("request_id", ""),
        network=options.get("network", job_pb2.JOB_NETWORK_UNSPECIFIED),
        max_scratch=options.get("max_scratch", 0),
        queue_timeout=_duration(options.get("queue_timeout")),
        priority=options.get("priority", 0),
        stdin=options.get("stdin", job_pb2.JOB_STDIN_UNSPECIFIED),
        terminal=options.get("terminal"),
        queue=options.get("queue", ""),
        node_selector=options.get("node_selector"),
        retry_on_lost=options.get("retry_on_lost", False),
        **limits,
    )


def with_request_id(request: job_service_pb2.CreateJobRequest) -> job_service_pb2.CreateJobRequest:
    """Return a copy that has a request id and is thus safe to retry; generate the id if it is empty."""
    # Importing uuid takes longer than the rest of this module: it inspects the network interfaces.
    import uuid

    copy = job_service_pb2.CreateJobRequest()
    copy.CopyFrom(request)
    copy.request_id = request.request_id or str(uuid.uuid4())
    return copy


def list_request(**job_filter: Unpack[JobFilter]) -> job_service_pb2.ListJobsRequest:
    """Return the request of ListJobs.

    Raises:
        ValueError: a time has no time zone.
    """
    return job_service_pb2.ListJobsRequest(
        statuses=job_filter.get("statuses"),
        labels=job_filter.get("labels"),
        id_prefix=job_filter.get("id_prefix", ""),
        owner=job_filter.get("owner", ""),
        created_after=_timestamp("created_after", job_filter.get("created_after")),
        created_before=_timestamp("created_before", job_filter.get("created_before")),
        command_contains=job_filter.get("command_contains", ""),
        live_usage=job_filter.get("live_usage", False),
    )


def watch_request(**watch_filter: Unpack[WatchFilter]) -> job_watch_pb2.WatchJobsRequest:
    """Return the request of WatchJobs.

    Raises:
        ValueError: a time has no time zone.
    """
    return job_watch_pb2.WatchJobsRequest(
        statuses=watch_filter.get("statuses"),
        labels=watch_filter.get("labels"),
        id_prefix=watch_filter.get("id_prefix", ""),
        owner=watch_filter.get("owner", ""),
        created_after=_timestamp("created_after", watch_filter.get("created_after")),
        created_before=_timestamp("created_before", watch_filter.get("created_before")),
        command_contains=watch_filter.get("command_contains", ""),
        ids=watch_filter.get("ids"),
        max_final_jobs=watch_filter.get("max_final_jobs"),
    )


def update_request(job_id: str, **changes: Unpack[LimitChanges]) -> job_service_pb2.UpdateJobRequest:
    """Return the request of UpdateJob."""
    return job_service_pb2.UpdateJobRequest(id=job_id, **changes)


def stop_request(job_id: str, grace_period: Seconds | None) -> job_service_pb2.StopJobRequest:
    """Return the request of StopJob; None = the grace period from the creation of the job."""
    return job_service_pb2.StopJobRequest(id=job_id, grace_period=_duration(grace_period))


def stream_request(job_id: str, **options: Unpack[StreamOptions]) -> job_service_pb2.GetJobsStreamRequest:
    """Return the request of GetJobsStream.

    Raises:
        ValueError: `since` has no time zone.
    """
    return job_service_pb2.GetJobsStreamRequest(
        id=job_id,
        offset=options.get("offset", 0),
        follow=options.get("follow", True),
        tail_lines=options.get("tail_lines"),
        tail_bytes=options.get("tail_bytes"),
        source=options.get("source", job_output_pb2.OUTPUT_SOURCE_UNSPECIFIED),
        since=_timestamp("since", options.get("since")),
    )


def attach_start(job_id: str, **options: Unpack[AttachOptions]) -> job_attach_pb2.AttachStart:
    """Return the first message of AttachJob."""
    return job_attach_pb2.AttachStart(id=job_id, **options)


def attached_output(start: job_attach_pb2.AttachStart) -> job_service_pb2.GetJobsStreamRequest:
    """Return the request of GetJobsStream for the same output."""
    tail_bytes = start.tail_bytes if start.HasField("tail_bytes") else None
    return job_service_pb2.GetJobsStreamRequest(
        id=start.id, offset=start.offset, tail_bytes=tail_bytes, follow=True
    )


def _duration(seconds: Seconds | None) -> Duration | None:
    if seconds is None:
        return None
    duration = Duration()
    duration.FromTimedelta(seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds))
    return duration


def _timestamp(name: str, time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    if time.tzinfo is None:
        raise ValueError(f"{name}={time} has no time zone; add one, such as tzinfo=datetime.UTC")
    timestamp = Timestamp()
    timestamp.FromDatetime(time.astimezone(UTC))
    return timestamp
