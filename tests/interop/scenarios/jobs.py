"""Scenarios about jobs: made, found, ended, and what they came to."""

import uuid

from google.protobuf.duration_pb2 import Duration

from jobworker.v1 import job_pb2
from tests.interop.refusals import refused
from tests.interop.stage import Stage, count_events, wait_for_events


def create_with_limits_env_and_labels(stage: Stage) -> None:
    job = stage.admin.create(
        "sh", "-c", 'echo "$GREETING from $PWD"',
        max_cpu=250, max_memory=96, max_io_bps=1 << 33, max_pids=64,
        env={"GREETING": "grüß\tGott"}, labels={"team/name": "ops", "empty": ""}, working_directory="/tmp",
        timeout=Duration(seconds=60, nanos=500_000_000), stop_signal="INT", stop_grace_period=Duration(),
    )  # fmt: skip
    assert (job.max_cpu, job.max_memory, job.max_io_bps, job.max_pids) == (250, 96, 1 << 33, 64)
    assert {"max_cpu", "max_memory", "max_pids"} <= {each.limit for each in job.limits_applied}
    assert (dict(job.labels), job.working_directory) == ({"team/name": "ops", "empty": ""}, "/tmp")
    assert (job.timeout, job.stop_signal) == (Duration(seconds=60, nanos=500_000_000), "SIGINT")
    assert job.HasField("stop_grace_period")
    assert job.stop_grace_period == Duration()
    output = stage.admin.stream(job.id)
    assert output.bytes == len("grüß\tGott from /tmp\n".encode())
    assert output.job
    assert output.job.status == job_pb2.JOB_STATUS_COMPLETED


def create_twice_is_one_job(stage: Stage) -> None:
    request_id = str(uuid.uuid4())
    first = stage.admin.create("sleep", "0.2", request_id=request_id)
    assert stage.admin.create("sleep", "0.2", request_id=request_id).id == first.id
    with refused("ALREADY_EXISTS", "REQUEST_ID_REUSED"):
        stage.admin.create("sleep", "0.3", request_id=request_id)


def get(stage: Stage) -> None:
    created = stage.admin.create("sleep", "600")
    job = stage.viewer.get(created.id)
    assert (job.id, job.command, list(job.args)) == (created.id, "sleep", ["600"])
    assert (job.status, job.pid, job.owner) == (job_pb2.JOB_STATUS_RUNNING, created.pid, created.owner)
    assert (job.create_time, job.start_time) == (created.create_time, created.start_time)
    assert not job.HasField("exit_code")
    stage.admin.stop(job.id, grace_period=0)


def list_by_pages(stage: Stage) -> None:
    label = {"test": str(uuid.uuid4())}
    ids = [stage.admin.create("true", labels=label).id for _ in range(5)]
    before = count_events(stage.servers.usual, "rpc", "ListJobs")
    assert stage.viewer.list(labels=label, page_size=2) == ids[::-1]
    assert stage.viewer.list(labels=label) == ids[::-1]
    assert stage.viewer.list(labels=label, id_prefix=ids[2]) == [ids[2]]
    # Five jobs are three pages of two; the other two are a page each.
    wait_for_events(stage.servers.usual, before + 5, "rpc", "ListJobs")


def list_by_label_and_status(stage: Stage) -> None:
    label = {"test": str(uuid.uuid4())}
    running = stage.admin.create("sleep", "600", labels=label).id
    ended = stage.admin.create("true", labels={**label, "kind": "quick"}).id
    stage.admin.wait(ended)
    assert stage.viewer.list(labels=label) == [ended, running]
    assert stage.viewer.list(labels={**label, "kind": "quick"}) == [ended]
    assert stage.viewer.list(labels=label, statuses=["JOB_STATUS_RUNNING"]) == [running]
    both = ["JOB_STATUS_COMPLETED", "JOB_STATUS_STOPPED"]
    assert stage.viewer.list(labels=label, statuses=both) == [ended]
    stage.admin.stop(running, grace_period=0)
    assert stage.viewer.list(labels=label, statuses=both) == [ended, running]


def stop_with_grace(stage: Stage) -> None:
    job = ignoring_sigterm(stage)
    stopped = stage.admin.stop(job.id, grace_period=0.3)
    assert stopped.status == job_pb2.JOB_STATUS_STOPPED
    assert (stopped.termination.reason, stopped.termination.signal_name) == (
        job_pb2.TERMINATION_REASON_STOPPED,
        "SIGKILL",
    )
    assert stage.admin.stop(job.id) == stopped, "a job that has ended is left as it is"


def wait(stage: Stage) -> None:
    job = stage.viewer.wait(stage.admin.create("sh", "-c", "sleep 0.3; echo done").id)
    assert (job.status, job.exit_code, job.log_size) == (job_pb2.JOB_STATUS_COMPLETED, 0, len("done\n"))


def result_exit_code(stage: Stage) -> None:
    job = stage.admin.wait(stage.admin.create("sh", "-c", "exit 3").id)
    assert (job.status, job.exit_code) == (job_pb2.JOB_STATUS_FAILED, 3)
    assert job.termination.reason == job_pb2.TERMINATION_REASON_EXITED


def result_signal(stage: Stage) -> None:
    job = stage.admin.wait(stage.admin.create("sh", "-c", "kill -USR1 $$").id)
    assert (job.status, job.HasField("exit_code")) == (job_pb2.JOB_STATUS_FAILED, False)
    assert job.termination.reason == job_pb2.TERMINATION_REASON_SIGNALED
    assert (job.termination.signal, job.termination.signal_name) == (10, "SIGUSR1")


def result_timeout(stage: Stage) -> None:
    job = stage.admin.wait(stage.admin.create("sleep", "600", timeout=Duration(nanos=300_000_000)).id)
    assert job.status == job_pb2.JOB_STATUS_FAILED
    assert job.termination.reason == job_pb2.TERMINATION_REASON_TIMED_OUT


def ignoring_sigterm(stage: Stage) -> job_pb2.Job:
    """Returns a job that has said that it ignores SIGTERM from now on."""
    job = stage.admin.create("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    assert stage.admin.stream(job.id, cancel_after_bytes=len("ready\n")).bytes == len("ready\n")
    return job
