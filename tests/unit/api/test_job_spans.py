"""Spans of jobs: ids, times, result, events and status."""

import asyncio

import pytest
from api_server import Logged, eventually
from msgspec.structs import replace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from jobworkerd.api.job_spans import JobSpans
from jobworkerd.model import Job, JobStatus, Termination, TerminationReason, Usage
from jobworkerd.trace_context import JobTrace, Step, TraceContext
from sample_jobs import FINAL

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
RPC_ID = "b7ad6b7169203331"
SPAN_ID = "00f067aa0ba902b7"
REQUEST = TraceContext(f"00-{TRACE_ID}-{RPC_ID}-03", "vendor=1", exported=True)
STEPS = (Step("cgroup", 20, 30), Step("exec", 30, 50))
EXITED = Termination(reason=TerminationReason.EXITED, message="exited with code 0")
JOB = replace(
    FINAL,
    create_time_ns=10,
    start_time_ns=60,
    end_time_ns=90,
    termination=EXITED,
    trace=JobTrace(REQUEST, SPAN_ID, STEPS),
)
RESOURCE = Resource({"service.name": "jobworkerd"})


class Exported:
    """The spans that `JobSpans` has made."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.job_spans = JobSpans(RESOURCE, max_log_bytes=1_000)
        self.job_spans.attach([self.spans.append])

    def ended(self, job: Job) -> ReadableSpan:
        self.job_spans.ended(job)
        return self.spans[-1]


@pytest.fixture
def exported() -> Exported:
    return Exported()


def parents(spans: list[ReadableSpan]) -> list[tuple[str, str, int | None, int | None]]:
    return [
        (span.name, f"{span.parent.span_id:016x}" if span.parent else "", span.start_time, span.end_time)
        for span in spans
    ]


def test_the_steps_are_children_of_the_call(exported: Exported) -> None:
    exported.job_spans.created(JOB, REQUEST)
    assert parents(exported.spans) == [
        ("jobworker.job.cgroup", RPC_ID, 20, 30),
        ("jobworker.job.exec", RPC_ID, 30, 50),
    ]
    assert len({span.context.span_id for span in exported.spans}) == 2
    assert {f"{span.context.trace_id:032x}" for span in exported.spans} == {TRACE_ID}
    assert {int(span.context.trace_flags) for span in exported.spans} == {3}


async def test_a_bug_fails_neither_the_call_nor_the_connection(exported: Exported, logged: Logged) -> None:
    def fail(_: ReadableSpan) -> None:
        raise ZeroDivisionError

    acknowledged: list[str] = []
    exported.job_spans.attach([fail])
    exported.job_spans.acknowledge_with(acknowledged.extend)
    exported.job_spans.created(JOB, REQUEST)
    exported.job_spans.ended(JOB)
    await eventually(lambda: acknowledged == [JOB.id])
    assert [line["event"] for line in logged] == ["spans not exported", "spans not exported"]


def test_a_retry_does_not_export_the_steps_again(exported: Exported) -> None:
    retry = TraceContext(f"00-{TRACE_ID}-{SPAN_ID}-01", exported=True)
    exported.job_spans.created(JOB, retry)
    exported.job_spans.created(JOB, None)
    exported.job_spans.created(replace(JOB, trace=None), None)
    assert exported.spans == []


def test_the_span_of_a_job_has_its_result(exported: Exported) -> None:
    usage = Usage(cpu_user_usec=7, memory_peak_bytes=0)
    span = exported.ended(replace(JOB, exit_code=0, pid=5, usage=usage))
    assert parents(exported.spans) == [("jobworker.job", RPC_ID, 10, 90)]
    assert f"{span.context.span_id:016x}" == SPAN_ID
    assert span.context.trace_state.to_header() == "vendor=1"
    assert span.resource is RESOURCE
    assert span.attributes == {
        "jobworker.job.id": JOB.id,
        "jobworker.job.owner": "CN=alice",
        "jobworker.job.status": "completed",
        "jobworker.job.reason": "exited",
        "jobworker.job.message": "exited with code 0",
        "jobworker.log.size": 9,
        "jobworker.usage.cpu_user_usec": 7,
        "jobworker.usage.memory_peak_bytes": 0,
        "process.command": "true",
        "process.pid": 5,
        "process.exit.code": 0,
    }
    assert span.status.status_code is StatusCode.UNSET
    assert span.events == ()


@pytest.mark.parametrize(
    ("status", "reason", "is_error"),
    [
        (JobStatus.FAILED, TerminationReason.SIGNALED, True),
        (JobStatus.LOST, TerminationReason.LOST, True),
        (JobStatus.STOPPED, TerminationReason.STOPPED, False),
    ],
)
def test_failures_are_errors(
    exported: Exported, status: JobStatus, reason: TerminationReason, *, is_error: bool
) -> None:
    termination = Termination(reason=reason, signal=9, message="why")
    span = exported.ended(replace(JOB, status=status, termination=termination))
    assert span.attributes
    assert span.attributes["jobworker.job.signal"] == "SIGKILL"
    assert span.attributes.get("error.type") == (reason.value if is_error else None)
    assert span.status.status_code is (StatusCode.ERROR if is_error else StatusCode.UNSET)
    assert span.status.description == ("why" if is_error else None)


def test_a_queued_job_has_its_steps_and_its_wait_below_it(exported: Exported) -> None:
    exported.job_spans.created(replace(JOB, was_queued=True, status=JobStatus.QUEUED, trace=None), REQUEST)
    exported.ended(replace(JOB, was_queued=True))
    assert parents(exported.spans) == [
        ("jobworker.job.queue", SPAN_ID, 10, 20),
        ("jobworker.job.cgroup", SPAN_ID, 20, 30),
        ("jobworker.job.exec", SPAN_ID, 30, 50),
        ("jobworker.job", RPC_ID, 10, 90),
    ]


def test_a_clock_that_was_set_back_makes_no_negative_wait(exported: Exported) -> None:
    exported.ended(replace(JOB, was_queued=True, create_time_ns=25))
    assert parents(exported.spans)[0] == ("jobworker.job.queue", SPAN_ID, 25, 25)


def test_a_job_that_ended_in_the_queue_has_no_steps(exported: Exported) -> None:
    exported.ended(replace(JOB, was_queued=True, trace=JobTrace(REQUEST, SPAN_ID)))
    assert parents(exported.spans) == [
        ("jobworker.job.queue", SPAN_ID, 10, 90),
        ("jobworker.job", RPC_ID, 10, 90),
    ]


def test_events(exported: Exported) -> None:
    span = exported.ended(replace(JOB, usage=Usage(oom_kill_count=2), log_size=1_001))
    assert [(event.name, dict(event.attributes or {}), event.timestamp) for event in span.events] == [
        ("oom_kill", {"jobworker.oom_kill.count": 2}, 90),
        ("log_truncated", {"jobworker.log.max_bytes": 1_000}, 90),
    ]


async def test_finished_spans_of_jobs_are_acknowledged(exported: Exported) -> None:
    acknowledged = asyncio.get_running_loop().create_future()
    exported.job_spans.finished([exported.ended(JOB)])  # nothing to tell before the server serves
    exported.job_spans.acknowledge_with(acknowledged.set_result)
    exported.job_spans.created(JOB, REQUEST)
    await asyncio.to_thread(exported.job_spans.finished, exported.spans)
    assert await acknowledged == [JOB.id]


def test_spans_that_finish_after_the_end_of_the_loop_are_ignored(exported: Exported) -> None:
    async def serve() -> None:
        exported.job_spans.acknowledge_with(lambda _: None)

    asyncio.run(serve())
    exported.job_spans.finished([exported.ended(JOB)])
