"""Export of the spans of jobs by one API process, and spans that wait for a process."""

import asyncio
import io
import json

import pytest
from msgspec.structs import replace

from jobworkerd.config import LoggingConfig
from jobworkerd.model import AppliedLimit, Job
from jobworkerd.supervisor import job_spans
from jobworkerd.supervisor.event_log import EventLog
from jobworkerd.supervisor.job_spans import JobSpans
from jobworkerd.trace_context import JobTrace, TraceContext
from sample_jobs import FINAL

PARENT = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", exported=True)


def job(number: int = 1) -> Job:
    return replace(FINAL, id=f"job {number}", trace=JobTrace.below(PARENT))


class Process:
    """An API process. It remembers the jobs that it got."""

    def __init__(self) -> None:
        self.jobs: list[str] = []

    def take(self, job: Job) -> None:
        self.jobs.append(job.id)


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
async def spans(log: io.StringIO) -> JobSpans:
    return JobSpans(asyncio.get_running_loop(), EventLog(LoggingConfig(format="json"), log))


async def test_the_oldest_process_exports(spans: JobSpans) -> None:
    first, second = Process(), Process()
    spans.connected(first.take, exports=True)
    spans.connected(second.take, exports=True)
    spans.ended(job(1))
    spans.exported(["job 1"])
    spans.ended(job(2))
    assert (first.jobs, second.jobs) == (["job 1", "job 2"], [])


async def test_the_next_process_gets_what_the_first_has_not_acknowledged(spans: JobSpans) -> None:
    first, second = Process(), Process()
    spans.connected(first.take, exports=True)
    spans.connected(second.take, exports=True)
    for number in range(3):
        spans.ended(job(number))
    spans.exported(["job 1", "of another supervisor"])
    spans.disconnected(second.take)
    assert first.jobs == ["job 0", "job 1", "job 2"]
    spans.connected(second.take, exports=True)
    spans.disconnected(first.take)
    assert second.jobs == ["job 0", "job 2"]
    spans.disconnected(first.take)
    assert second.jobs == ["job 0", "job 2"]


async def test_spans_wait_for_a_process(spans: JobSpans) -> None:
    """At the start of a supervisor, and while a killed API process is replaced."""
    spans.ended(job(1))
    first, second = Process(), Process()
    spans.connected(first.take, exports=True)
    assert first.jobs == ["job 1"]
    spans.disconnected(first.take)
    spans.ended(job(2))
    spans.connected(second.take, exports=True)
    assert second.jobs == ["job 1", "job 2"]


async def test_nothing_is_kept_if_no_process_exports(spans: JobSpans) -> None:
    spans.ended(job(1))
    spans.connected(Process().take, exports=False)
    spans.ended(job(2))
    late = Process()
    spans.connected(late.take, exports=True)
    assert late.jobs == []


async def test_a_job_without_a_span_is_not_exported(spans: JobSpans) -> None:
    process = Process()
    spans.connected(process.take, exports=True)
    spans.ended(FINAL)
    spans.ended(replace(FINAL, trace=JobTrace.below(replace(PARENT, exported=False))))
    assert process.jobs == []


async def test_a_process_that_acknowledges_nothing_gets_a_bounded_number(
    spans: JobSpans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_spans, "MAX_SENT", 2)
    process = Process()
    for _ in range(2):  # a faulty process can report twice that it serves
        spans.connected(process.take, exports=True)
    for number in range(4):
        spans.ended(job(number))
    assert process.jobs == ["job 0", "job 1"]
    spans.exported(["job 0"])
    assert process.jobs == ["job 0", "job 1", "job 2"]


async def test_dropped_spans_are_counted_and_reported(
    spans: JobSpans, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_spans, "MAX_UNSENT", 2)
    for number in range(5):
        spans.ended(job(number))
    assert log.getvalue() == ""
    spans.close()
    spans.close()
    (line,) = log.getvalue().splitlines()
    event = json.loads(line)
    assert (event["level"], event["event"], event["count"]) == ("warning", "job spans dropped", 5)


async def test_the_newest_spans_are_kept(spans: JobSpans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_spans, "MAX_UNSENT", 2)
    for number in range(5):
        spans.ended(job(number))
    process = Process()
    spans.connected(process.take, exports=True)
    assert process.jobs == ["job 3", "job 4"]
    spans.close()


async def test_spans_that_no_process_got_are_reported_at_the_end(
    spans: JobSpans, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An API process reports itself which of its spans no collector has accepted."""
    monkeypatch.setattr(job_spans, "MAX_SENT", 2)
    process = Process()
    spans.connected(process.take, exports=True)
    for number in range(2):
        spans.ended(job(number))
    spans.disconnected(process.take)
    spans.connected(process.take, exports=True)
    for number in range(2, 5):
        spans.ended(job(number))
    spans.disconnected(process.take)
    spans.close()
    (line,) = log.getvalue().splitlines()
    assert json.loads(line)["count"] == 3


async def test_an_end_without_waiting_spans_reports_nothing(spans: JobSpans, log: io.StringIO) -> None:
    process = Process()
    spans.connected(process.take, exports=True)
    spans.ended(job(1))
    spans.disconnected(process.take)
    spans.close()
    assert log.getvalue() == ""


async def test_a_span_in_memory_has_a_bounded_size(spans: JobSpans) -> None:
    found: list[Job] = []
    spans.connected(found.append, exports=True)
    spec = replace(FINAL.spec, command="x" * 4096, args=("y",), env={"A": "1"}, labels={"k": "v"})
    limits = (AppliedLimit(limit="max_cpu", in_force=True),)
    spans.ended(replace(job(), spec=spec, applied_limits=limits))
    (sent,) = found
    assert sent.spec == replace(FINAL.spec, command="x" * 256)
    assert sent.applied_limits == ()
