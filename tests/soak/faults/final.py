"""The checks of a job's record."""

import time

from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_pb2
from tests.soak.faults.ledger import FINAL, Entry, Ledger
from tests.soak.faults.plan import Kind

_SIGSEGV = 11


def observe(ledger: Ledger, job: job_pb2.Job, since: float, via: str) -> Entry | None:
    """Check a record that a call returned; `since` is the monotonic time at which the call started."""
    entry = ledger.entries.get(job.labels.get("rid", ""))
    if entry is None:
        ledger.violation("unknown job", None, f"{via}: {job.id} {job.labels}")
        return None
    if entry.acknowledged_at is not None and entry.job_id != job.id:
        if since > entry.acknowledged_at:
            ledger.violation("a request id has two jobs", entry, f"{via}: also {job.id}")
        return None
    if entry.deleted_at is not None and since > entry.deleted_at:
        ledger.violation("a deleted job exists", entry, via)
    _note_wait(entry, job, since)
    _check_progress(ledger, entry, job, since, via)
    return entry


def _note_wait(entry: Entry, job: job_pb2.Job, since: float) -> None:
    """Note the time in which the job waited for sure."""
    entry.owner, entry.create_time_ns = job.owner, _nanoseconds(job.create_time)
    if job.status == job_pb2.JOB_STATUS_QUEUED:
        now = time.time_ns()
        entry.queued_from_ns = entry.queued_from_ns or now
        entry.queued_until_ns = max(entry.queued_until_ns, now - int((time.monotonic() - since) * 1e9))


def _check_progress(ledger: Ledger, entry: Entry, job: job_pb2.Job, since: float, via: str) -> None:
    if start := _nanoseconds(job.start_time) if job.HasField("start_time") else 0:
        if entry.start_time_ns not in {0, start}:
            ledger.violation("the start time changed", entry, f"{via}: {entry.start_time_ns} to {start}")
        entry.start_time_ns = start
    if entry.max_cpu and since > entry.max_cpu_at and job.max_cpu not in entry.max_cpu:
        ledger.violation("an update was lost", entry, f"{via}: max_cpu={job.max_cpu} not in {entry.max_cpu}")
    if job.status not in FINAL:
        if entry.final is not None and entry.final_at is not None and since > entry.final_at:
            ledger.violation("a final job is live again", entry, f"{via}: {job.status}")
    elif entry.final is None:
        _accept_final(ledger, entry, job, via)
    elif job != entry.final:
        ledger.violation("a final record changed", entry, f"{via}: {_difference(entry.final, job)}")


def _accept_final(ledger: Ledger, entry: Entry, job: job_pb2.Job, via: str) -> None:
    ledger.end(entry, job)
    if problem := _problem(entry, job):
        status = job_pb2.JobStatus.Name(job.status)
        end = f"{status} exit_code={job.exit_code} {job.termination}".replace("\n", " ")
        ledger.violation("untrue result", entry, f"{via}: {problem}: {end}")


def _problem(entry: Entry, job: job_pb2.Job) -> str:
    """Return the part of a final record that is not true, or an empty text."""
    times = [_nanoseconds(each) for each in (job.create_time, job.start_time, job.end_time)]
    if job.HasField("start_time") and times != sorted(times):
        return "the times are not in order"
    if job.pid or job.kill_pending:
        return "a final job has a process"
    return _wrong_size(entry, job) or _wrong_end(entry, job)


def _wrong_size(entry: Entry, job: job_pb2.Job) -> str:
    """Compare the size of the log with the output of the command, which writes less if it was stopped."""
    total = entry.plan.total
    stopped = job.status == job_pb2.JOB_STATUS_STOPPED or not job.HasField("start_time")
    cut = stopped or entry.plan.kind is Kind.TIMED
    if job.log_size > total or (job.log_size < total and not cut):
        return f"log_size={job.log_size}, but the command writes {total}"
    return ""


def _wrong_end(entry: Entry, job: job_pb2.Job) -> str:
    """Compare the end with the command and with the requests of the clients."""
    reason = job.termination.reason
    if job.status == job_pb2.JOB_STATUS_STOPPED:
        is_true = entry.stop_requested and reason == job_pb2.TERMINATION_REASON_STOPPED
        return "" if is_true else "not stopped by a client"
    if reason == job_pb2.TERMINATION_REASON_QUEUE_TIMED_OUT:
        is_true = entry.plan.queue_timeout is not None and not entry.start_time_ns
        return "" if is_true else "not in the queue"
    return "" if _ended_by_itself(entry, job) else "not the end of the command"


def _ended_by_itself(entry: Entry, job: job_pb2.Job) -> bool:
    """Return whether the result is that of a command that was not stopped."""
    plan, reason = entry.plan, job.termination.reason
    if plan.kind is Kind.TIMED:
        return job.status == job_pb2.JOB_STATUS_FAILED and reason == job_pb2.TERMINATION_REASON_TIMED_OUT
    if plan.kind is Kind.SIGNALED:
        return reason == job_pb2.TERMINATION_REASON_SIGNALED and job.termination.signal == _SIGSEGV
    status = job_pb2.JOB_STATUS_FAILED if plan.exit_code else job_pb2.JOB_STATUS_COMPLETED
    exited = reason == job_pb2.TERMINATION_REASON_EXITED and job.HasField("exit_code")
    return plan.ends and exited and job.status == status and job.exit_code == plan.exit_code


def _nanoseconds(moment: Timestamp) -> int:
    return moment.ToNanoseconds()


def _difference(before: job_pb2.Job, after: job_pb2.Job) -> str:
    """Return the fields that differ, with both values."""
    found = []
    for name in (field.name for field in before.DESCRIPTOR.fields):
        old, new = str(getattr(before, name)), str(getattr(after, name))
        if old != new:
            found.append(f"{name}: {old} to {new}".replace("\n", " "))
    return "; ".join(found)
