"""Scenarios about jobs that wait in the queue of a server that runs one job at a time."""

from google.protobuf.duration_pb2 import Duration

from jobworker.v1 import error_reason_pb2, job_pb2
from tests.interop.environment import Environment
from tests.interop.expected_error import expect_error

HOUR = Duration(seconds=3_600)


def wait_in_the_queue(env: Environment) -> None:
    """Stream a job while it waits. The job with the higher priority starts first."""
    client = env.limited
    client.create("sleep", "2")
    low = client.create("echo", "low", queue_timeout=HOUR, priority=-100)
    high = client.create("sh", "-c", "exit 3", queue_timeout=HOUR, priority=100)
    assert (high.status, high.queue_position) == (job_pb2.JOB_STATUS_QUEUED, 1)
    assert (high.queue_timeout, high.priority) == (HOUR, 100)
    waiting = client.get(low.id)
    assert (waiting.status, waiting.queue_position) == (job_pb2.JOB_STATUS_QUEUED, 2)
    assert "1 job is ahead" in waiting.queue_reason
    assert not waiting.HasField("start_time")
    assert client.list(statuses=["JOB_STATUS_QUEUED"]) == [high.id, low.id]
    output = client.stream(low.id)
    assert output.bytes == len("low\n")
    assert output.job
    assert (output.job.queue_position, output.job.queue_reason) == (0, "")
    ended = client.wait(high.id)
    assert (ended.status, ended.exit_code) == (job_pb2.JOB_STATUS_FAILED, 3)
    assert ended.start_time.ToNanoseconds() < output.job.start_time.ToNanoseconds()


def ends_of_jobs_that_never_ran(env: Environment) -> None:
    client = env.limited
    blocker = client.create("sleep", "600")
    late = client.create("true", queue_timeout=Duration(nanos=200_000_000))
    wrong = client.create("/no/such/command", queue_timeout=HOUR)
    unwanted = client.create("true", queue_timeout=HOUR)
    with expect_error("FAILED_PRECONDITION", "JOB_NOT_RUNNING"):
        client.update(wrong.id, max_pids=5)
    stopped = client.stop(unwanted.id)
    assert (stopped.status, stopped.termination.reason) == (
        job_pb2.JOB_STATUS_STOPPED,
        job_pb2.TERMINATION_REASON_STOPPED,
    )
    assert client.wait(late.id).termination.reason == job_pb2.TERMINATION_REASON_QUEUE_TIMED_OUT
    client.stop(blocker.id, grace_period=0)
    not_started = client.wait(wrong.id)
    assert not_started.termination.reason == job_pb2.TERMINATION_REASON_NOT_STARTED
    assert "/no/such/command" in not_started.termination.message
    assert not_started.termination.start_error == job_pb2.StartError(
        reason=error_reason_pb2.ERROR_REASON_COMMAND_NOT_STARTED, field="command", errno_name="ENOENT"
    )
    for job in (stopped, not_started):
        assert not job.HasField("exit_code")
        output = client.stream(job.id)
        assert (output.bytes, output.job) == (0, job)
