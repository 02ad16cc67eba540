"""Scenarios about jobs: create, get, list, update, stop, wait, and the result."""

import uuid

from applied import limit_name
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_pb2
from tests.interop.environment import Environment, count_events, wait_for_events
from tests.interop.expected_error import expect_error
from tests.interop.scenarios.output import running_job


def create_with_limits_env_and_labels(env: Environment) -> None:
    job = env.admin.create(
        "sh", "-c", 'echo "$GREETING from $PWD"',
        max_cpu=250, max_memory=96, max_io_bps=1 << 33, max_pids=64,
        env={"GREETING": "grüß\tGott"}, labels={"team/name": "ops", "empty": ""}, working_directory="/tmp",
        timeout=Duration(seconds=60, nanos=500_000_000), stop_signal="INT", stop_grace_period=Duration(),
    )  # fmt: skip
    assert (job.max_cpu, job.max_memory, job.max_io_bps, job.max_pids) == (250, 96, 1 << 33, 64)
    assert {"max_cpu", "max_memory", "max_pids"} <= {limit_name(each) for each in job.applied_limits}
    assert (dict(job.labels), job.working_directory) == ({"team/name": "ops", "empty": ""}, "/tmp")
    assert (job.timeout, job.stop_signal) == (Duration(seconds=60, nanos=500_000_000), "SIGINT")
    assert job.HasField("stop_grace_period")
    assert job.stop_grace_period == Duration()
    output = env.admin.stream(job.id)
    assert output.bytes == len("grüß\tGott from /tmp\n".encode())
    assert output.job
    assert output.job.status == job_pb2.JOB_STATUS_COMPLETED


def create_twice_with_one_request_id(env: Environment) -> None:
    request_id = str(uuid.uuid4())
    first = env.admin.create("sleep", "0.2", request_id=request_id)
    assert env.admin.create("sleep", "0.2", request_id=request_id).id == first.id
    with expect_error("ALREADY_EXISTS", "REQUEST_ID_REUSED"):
        env.admin.create("sleep", "0.3", request_id=request_id)


def get(env: Environment) -> None:
    script = "echo up; exec sleep 600"
    created = env.admin.create("sh", "-c", script)
    env.admin.stream(created.id, cancel_after_bytes=len("up\n"))
    job = env.viewer.get(created.id)
    assert (job.id, job.command, list(job.args)) == (created.id, "sh", ["-c", script])
    assert (job.status, job.owner) == (job_pb2.JOB_STATUS_RUNNING, created.owner)
    assert (job.create_time, job.HasField("exit_code")) == (created.create_time, False)
    assert job.pid
    # A gateway answers before the job has a process.
    assert (created.pid, created.start_time) in [(job.pid, job.start_time), (0, Timestamp())]
    env.admin.stop(job.id, grace_period=0)


def list_pages(env: Environment) -> None:
    label = {"test": str(uuid.uuid4())}
    ids = [env.admin.create("true", labels=label).id for _ in range(5)]
    before = count_events(env.servers.default, "rpc", "ListJobs")
    assert env.viewer.list(labels=label, page_size=2) == ids[::-1]
    assert env.viewer.list(labels=label) == ids[::-1]
    assert env.viewer.list(labels=label, id_prefix=ids[2]) == [ids[2]]
    # Five jobs make three pages of two. Each of the other two lists is one page.
    wait_for_events(env.servers.default, before + 5, "rpc", "ListJobs")


def list_by_label_and_status(env: Environment) -> None:
    label = {"test": str(uuid.uuid4())}
    running = running_job(env, labels=label)
    ended = env.admin.create("true", labels={**label, "kind": "quick"}).id
    env.admin.wait(ended)
    assert env.viewer.list(labels=label) == [ended, running]
    assert env.viewer.list(labels={**label, "kind": "quick"}) == [ended]
    assert env.viewer.list(labels=label, statuses=["JOB_STATUS_RUNNING"]) == [running]
    both = ["JOB_STATUS_COMPLETED", "JOB_STATUS_STOPPED"]
    assert env.viewer.list(labels=label, statuses=both) == [ended]
    env.admin.stop(running, grace_period=0)
    assert env.viewer.list(labels=label, statuses=both) == [ended, running]


def update_limits(env: Environment) -> None:
    """Only the limits that are set change, and the response has the applied values."""
    job = env.admin.create("sleep", "600", max_memory=64, max_cpu=100, max_pids=32)
    updated = env.admin.update(job.id, max_memory=96, cpu_weight=250)
    assert (updated.max_memory, updated.cpu_weight) == (96, 250)
    assert (updated.max_cpu, updated.max_pids) == (job.max_cpu, job.max_pids)
    assert "max_memory" in {limit_name(each) for each in updated.applied_limits}
    current = env.viewer.get(job.id)
    assert (current.max_memory, current.cpu_weight) == (96, 250)
    with expect_error("INVALID_ARGUMENT", "INVALID_REQUEST") as expected:
        env.admin.update(job.id, max_pids=-1)
    assert list(expected.error.fields) == ["max_pids"]
    env.admin.stop(job.id, grace_period=0)


def stop_with_grace_period(env: Environment) -> None:
    job = job_that_ignores_sigterm(env)
    stopped = env.admin.stop(job.id, grace_period=0.3)
    assert stopped.status == job_pb2.JOB_STATUS_STOPPED
    assert (stopped.termination.reason, stopped.termination.signal_name) == (
        job_pb2.TERMINATION_REASON_STOPPED,
        "SIGKILL",
    )
    assert env.admin.stop(job.id) == stopped, "a job that has ended does not change"


def wait(env: Environment) -> None:
    job = env.viewer.wait(env.admin.create("sh", "-c", "sleep 0.3; echo done").id)
    assert (job.status, job.exit_code, job.log_size) == (job_pb2.JOB_STATUS_COMPLETED, 0, len("done\n"))


def wait_over_an_api_process_restart(env: Environment) -> None:
    """The client repeats WaitJob after the server has restarted a killed API process."""
    script = 'until [ -e "$0/go" ]; do sleep 0.05; done; exit 4'
    # The first call returns at once. The second one waits for the end of the job.
    job_id, job = env.over_an_api_process_restart(script, "WaitJob", 2, env.limited.wait)
    assert (job.id, job.status, job.exit_code) == (job_id, job_pb2.JOB_STATUS_FAILED, 4)


def wait_over_a_supervisor_restart(env: Environment) -> None:
    """The job and the wait for it outlast the supervisor."""
    script = 'until [ -e "$0/go" ]; do sleep 0.05; done; exit 4'
    job_id, job = env.over_a_supervisor_restart(script, "WaitJob", 2, env.limited.wait)
    assert (job.id, job.status, job.exit_code) == (job_id, job_pb2.JOB_STATUS_FAILED, 4)


def calls_during_a_supervisor_restart(env: Environment) -> None:
    """Each call outlasts the restart, and a repeated CreateJob starts one job."""
    label = {"test": str(uuid.uuid4())}
    ended = env.limited.wait(env.limited.create("true", labels=label).id)
    env.kill_limited_supervisor()
    assert env.limited.get(ended.id) == ended
    env.kill_limited_supervisor()
    job = env.limited.create("true", labels=label)
    env.limited.wait(job.id)
    env.kill_limited_supervisor()
    assert env.limited.list(labels=label) == [job.id, ended.id]
    env.kill_limited_supervisor()
    assert env.limited.stop(ended.id) == ended
    env.kill_limited_supervisor()
    env.limited.delete(ended.id)
    assert env.limited.list(labels=label) == [job.id]


def running_job_over_supervisor_restarts(env: Environment) -> None:
    """A running job can be changed and stopped while the supervisor restarts."""
    job = env.limited.create("sleep", "600")
    env.kill_limited_supervisor()
    assert env.limited.get(job.id).pid == job.pid
    env.kill_limited_supervisor()
    assert env.limited.update(job.id, max_memory=96).max_memory == 96
    env.kill_limited_supervisor()
    assert env.limited.stop(job.id, grace_period=0).status == job_pb2.JOB_STATUS_STOPPED


def result_exit_code(env: Environment) -> None:
    job = env.admin.wait(env.admin.create("sh", "-c", "exit 3").id)
    assert (job.status, job.exit_code) == (job_pb2.JOB_STATUS_FAILED, 3)
    assert job.termination.reason == job_pb2.TERMINATION_REASON_EXITED


def result_signal(env: Environment) -> None:
    job = env.admin.wait(env.admin.create("sh", "-c", "kill -USR1 $$").id)
    assert (job.status, job.HasField("exit_code")) == (job_pb2.JOB_STATUS_FAILED, False)
    assert job.termination.reason == job_pb2.TERMINATION_REASON_SIGNALED
    assert (job.termination.signal, job.termination.signal_name) == (10, "SIGUSR1")


def result_timeout(env: Environment) -> None:
    job = env.admin.wait(env.admin.create("sleep", "600", timeout=Duration(nanos=300_000_000)).id)
    assert job.status == job_pb2.JOB_STATUS_FAILED
    assert job.termination.reason == job_pb2.TERMINATION_REASON_TIMED_OUT


def job_that_ignores_sigterm(env: Environment) -> job_pb2.Job:
    """Return a job that has started to ignore SIGTERM."""
    job = env.admin.create("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    assert env.admin.stream(job.id, cancel_after_bytes=len("ready\n")).bytes == len("ready\n")
    return job
