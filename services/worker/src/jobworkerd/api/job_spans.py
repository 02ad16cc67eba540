"""The spans of jobs, made from what the supervisor has measured.

They are finished spans (`ReadableSpan`), which take a part of the time of spans that are opened and ended.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import structlog
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode

from jobworkerd.model import Job, JobStatus
from jobworkerd.rpc_server.span_context import span_context
from jobworkerd.signals import signal_name
from jobworkerd.trace_context import Step, TraceContext

_SCOPE = InstrumentationScope("jobworkerd.supervisor")
_JOB = "jobworker.job"
_JOB_ID = "jobworker.job.id"

_FAULTS = frozenset({JobStatus.FAILED, JobStatus.LOST})
"""A job that a client has stopped has not failed."""

Acknowledge = Callable[[Sequence[str]], object]


class JobSpans:
    """Makes and exports the spans of jobs and of their starts."""

    def __init__(self, resource: Resource, max_log_bytes: int) -> None:
        self._new_span = partial(ReadableSpan, resource=resource, instrumentation_scope=_SCOPE)
        self._max_log_bytes = max_log_bytes
        self._new_id = RandomIdGenerator().generate_span_id
        self._outputs: Sequence[Callable[[ReadableSpan], None]] = ()
        self._acknowledge: Acknowledge | None = None
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    def attach(self, outputs: Sequence[Callable[[ReadableSpan], None]]) -> None:
        """Set the functions that take finished spans."""
        self._outputs = outputs

    def acknowledge_with(self, acknowledge: Acknowledge) -> None:
        """Call a function in the running loop with the ids of jobs whose spans are exported or lost."""
        loop = asyncio.get_running_loop()
        self._acknowledge = lambda job_ids: loop.call_soon_threadsafe(acknowledge, job_ids)

    def finished(self, spans: Sequence[ReadableSpan]) -> None:
        """Acknowledge those spans that are jobs. Any thread can call it."""
        job_ids = [str((span.attributes or {})[_JOB_ID]) for span in spans if span.name == _JOB]
        if job_ids and self._acknowledge:
            with suppress(RuntimeError):  # the loop is closed: the supervisor has ended
                self._acknowledge(job_ids)

    def created(self, job: Job, request: TraceContext | None) -> None:
        """Export the steps of a job that a request has started. They are children of the span of the RPC.

        A retry of the request has another span, and the first one has exported the steps.
        """
        if job.trace and job.trace.parent == request and job.trace.steps:
            try:
                self._export_steps(job.trace.steps, span_context(job.trace.parent))
            except Exception:  # noqa: BLE001 - the job runs, so a span must not fail the call
                self._log.exception("spans not exported")

    def ended(self, job: Job) -> None:
        """Export the span of a final job, or acknowledge it after a bug, so that it is not sent again."""
        try:
            self._export_job(job)
        except Exception:  # noqa: BLE001 - it would end the connection to the supervisor
            self._log.exception("spans not exported")
            if self._acknowledge:
                self._acknowledge([job.id])

    def _export_job(self, job: Job) -> None:
        trace = job.trace
        assert trace
        parent = span_context(trace.parent)
        own = _sibling(parent, int(trace.span_id, 16))
        end = job.end_time_ns or job.create_time_ns
        if job.was_queued:
            left = max(trace.steps[0].start_ns, job.create_time_ns) if trace.steps else end
            self._export_steps((Step("queue", job.create_time_ns, left), *trace.steps), own)
        span = self._new_span(
            _JOB,
            own,
            parent,
            attributes=_attributes(job),
            events=self._events(job, end),
            status=_status(job),
            start_time=job.create_time_ns,
            end_time=end,
        )
        self._export(span)

    def _export_steps(self, steps: Sequence[Step], parent: SpanContext) -> None:
        trace_id, flags, state = parent.trace_id, parent.trace_flags, parent.trace_state
        for step in steps:
            context = SpanContext(trace_id, self._new_id(), False, flags, state)  # noqa: FBT003
            name, start, end = f"{_JOB}.{step.name}", step.start_ns, step.end_ns
            self._export(self._new_span(name, context, parent, start_time=start, end_time=end))

    def _export(self, span: ReadableSpan) -> None:
        for output in self._outputs:
            output(span)

    def _events(self, job: Job, end: int) -> Sequence[Event]:
        events = []
        if kills := job.usage.oom_kill_count:
            events.append(Event("oom_kill", {"jobworker.oom_kill.count": kills}, end))
        if job.log_size > self._max_log_bytes:
            events.append(Event("log_truncated", {"jobworker.log.max_bytes": self._max_log_bytes}, end))
        return events


def _sibling(context: SpanContext, span_id: int) -> SpanContext:
    return SpanContext(context.trace_id, span_id, False, context.trace_flags, context.trace_state)  # noqa: FBT003


def _attributes(job: Job) -> Mapping[str, str | int]:
    """Return the result of a job. Arguments and labels can contain secrets."""
    assert job.termination
    found = {
        _JOB_ID: job.id,
        "jobworker.job.owner": job.spec.owner,
        "jobworker.job.status": job.status.value,
        "jobworker.job.reason": job.termination.reason.value,
        "jobworker.job.message": job.termination.message,
        "jobworker.log.size": job.log_size,
        "process.command": job.spec.command,
        "process.pid": job.pid or None,
        "process.exit.code": job.exit_code,
        "jobworker.job.signal": signal_name(job.termination.signal) if job.termination.signal else None,
        "jobworker.usage.cpu_user_usec": job.usage.cpu_user_usec,
        "jobworker.usage.cpu_system_usec": job.usage.cpu_system_usec,
        "jobworker.usage.memory_peak_bytes": job.usage.memory_peak_bytes,
        "error.type": job.termination.reason.value if job.status in _FAULTS else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _status(job: Job) -> Status:
    assert job.termination
    return Status(StatusCode.ERROR, job.termination.message) if job.status in _FAULTS else Status()
