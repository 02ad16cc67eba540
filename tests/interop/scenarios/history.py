"""Scenarios about jobs that have ended: filters, deletion, and the history after a restart."""

import time
import uuid
from datetime import UTC, datetime

from jobworker.v1 import job_pb2
from tests.interop.environment import Environment
from tests.interop.expected_error import expect_error
from tests.interop.scenarios.output import running_job, sha256


def list_by_command_owner_and_time(env: Environment) -> None:
    label = {"test": str(uuid.uuid4())}
    first = env.admin.create("echo", "train one", labels=label)
    time.sleep(0.05)
    between = datetime.now(UTC).isoformat(timespec="milliseconds")
    time.sleep(0.05)
    second = env.admin.create("echo", "train", "two", labels=label)
    assert env.viewer.list(labels=label, command_contains="echo train") == [second.id, first.id]
    assert env.viewer.list(labels=label, command_contains="train two") == [second.id]
    assert env.viewer.list(labels=label, owner=first.owner) == [second.id, first.id]
    assert env.viewer.list(labels=label, owner="CN=nobody") == []
    assert env.viewer.list(labels=label, created_after=between) == [second.id]
    assert env.viewer.list(labels=label, created_before=between) == [first.id]
    with expect_error("INVALID_ARGUMENT", "INVALID_REQUEST") as expected:
        env.viewer.list(command_contains="x" * 1_025)
    assert list(expected.error.fields) == ["command_contains"]


def delete(env: Environment) -> None:
    label, request_id = {"test": str(uuid.uuid4())}, str(uuid.uuid4())
    job = env.admin.create("echo", "deleted", labels=label, request_id=request_id)
    env.admin.wait(job.id)
    assert env.viewer.get(job.id).id == job.id
    with expect_error("PERMISSION_DENIED", "ROLE_REQUIRED"):
        env.viewer.delete(job.id)
    env.admin.delete(job.id)
    assert env.viewer.list(labels=label) == []
    for call in (env.viewer.get, env.viewer.stream, env.admin.delete):
        with expect_error("NOT_FOUND", "JOB_NOT_FOUND"):
            call(job.id)
    again = env.admin.create("echo", "deleted", labels=label, request_id=request_id)
    assert again.id != job.id, "the request id of a deleted job is free"


def delete_of_running_job(env: Environment) -> None:
    job_id = running_job(env)
    with expect_error("FAILED_PRECONDITION", "JOB_NOT_FINAL") as expected:
        env.admin.delete(job_id)
    assert expected.error.metadata == {"job_id": job_id, "status": "running"}
    env.admin.stop(job_id, grace_period=0)
    env.admin.delete(job_id)


def history_after_a_restart(env: Environment) -> None:
    label, request_id = {"test": str(uuid.uuid4())}, str(uuid.uuid4())
    command = ("sh", "-c", "echo kept; exit 3")
    job = env.admin.wait(env.admin.create(*command, labels=label, request_id=request_id).id)
    env.restart_default_server()
    assert env.viewer.get(job.id) == job
    assert env.viewer.list(labels=label) == [job.id]
    assert env.viewer.stream(job.id).sha256 == sha256(b"kept\n")
    assert env.admin.create(*command, labels=label, request_id=request_id).id == job.id
    newer = env.admin.create("true", labels=label)
    assert env.viewer.list(labels=label) == [newer.id, job.id]


def lost(env: Environment) -> None:
    """The main process of the server is killed while a job runs. The next start records the job as LOST."""
    job = env.admin.create("sh", "-c", "echo before; exec sleep 600")
    assert env.admin.stream(job.id, cancel_after_bytes=len("before\n")).bytes == len("before\n")
    env.restart_default_server(kill=True)
    found = env.viewer.wait(job.id)
    assert (found.status, found.HasField("exit_code")) == (job_pb2.JOB_STATUS_LOST, False)
    assert found.termination.reason == job_pb2.TERMINATION_REASON_LOST
    assert found.termination.message
    assert found.HasField("end_time")
    assert env.viewer.stream(job.id).sha256 == sha256(b"before\n")
    assert job.id in env.viewer.list(statuses=["JOB_STATUS_LOST"])
    env.admin.delete(job.id)
