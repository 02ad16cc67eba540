"""Scenarios about failed calls: the code, reason and details that clients report."""

import uuid
from concurrent.futures import ThreadPoolExecutor

from jobworker.v1 import job_pb2
from tests.interop.environment import Environment, count_events, wait_for_events
from tests.interop.expected_error import expect_error
from tests.interop.scenarios.jobs import job_that_ignores_sigterm
from tests.interop.scenarios.output import running_job


def unknown_id(env: Environment) -> None:
    job_id = str(uuid.uuid4())
    for call in (env.viewer.get, env.admin.stop, env.viewer.stream, env.viewer.wait):
        with expect_error("NOT_FOUND", "JOB_NOT_FOUND") as expected:
            call(job_id)
        assert expected.error.metadata["job_id"] == job_id
        assert job_id in expected.error.message


def invalid_arguments(env: Environment) -> None:
    with expect_error("INVALID_ARGUMENT", "INVALID_REQUEST") as expected:
        env.admin.create("true", max_cpu=-1, working_directory="relative")
    assert sorted(expected.error.fields) == ["max_cpu", "working_directory"]


def options_of_a_cluster(env: Environment) -> None:
    with expect_error("INVALID_ARGUMENT", "INVALID_REQUEST") as expected:
        env.admin.create("true", queue="batch", node_selector={"zone": "a"}, retry_on_lost=True)
    assert sorted(expected.error.fields) == ["node_selector", "queue", "retry_on_lost"]
    assert "single host" in expected.error.message


def command_not_found(env: Environment) -> None:
    with expect_error("INVALID_ARGUMENT", "COMMAND_NOT_STARTED") as expected:
        env.admin.create("/no/such/command")
    assert expected.error.metadata["errno"] == "ENOENT"


def update_of_ended_job(env: Environment) -> None:
    job = env.admin.create("true")
    env.admin.wait(job.id)
    with expect_error("FAILED_PRECONDITION", "JOB_NOT_RUNNING") as expected:
        env.admin.update(job.id, max_memory=96)
    assert job.id in expected.error.message


def offset_out_of_range(env: Environment) -> None:
    job = env.admin.create("true")
    env.admin.wait(job.id)
    with expect_error("OUT_OF_RANGE", "OFFSET_OUT_OF_RANGE"):
        env.viewer.stream(job.id, offset=1)


def viewer_role(env: Environment) -> None:
    job_id = running_job(env)
    with expect_error("PERMISSION_DENIED", "ROLE_REQUIRED"):
        env.viewer.create("true")
    with expect_error("PERMISSION_DENIED", "ROLE_REQUIRED"):
        env.viewer.stop(job_id)
    assert env.viewer.get(job_id).status == job_pb2.JOB_STATUS_RUNNING
    env.admin.stop(job_id, grace_period=0)


def client_certificate_of_another_ca(env: Environment) -> None:
    with env.untrusted_client() as client, expect_error("UNAVAILABLE"):
        client.list(deadline=10)


def revoked_certificate(env: Environment) -> None:
    job = env.admin.create("sh", "-c", "while sleep 0.1; do echo x; done")
    server = env.servers.default
    with env.revocable_client() as (client, revoke), ThreadPoolExecutor() as pool:
        streams = count_events(server, "authorization", "GetJobsStream")
        stream = pool.submit(client.stream, job.id)
        wait_for_events(server, streams + 1, "authorization", "GetJobsStream")
        revoke()
        for call in (stream.result, lambda: client.get(job.id)):
            with expect_error("PERMISSION_DENIED", "CERTIFICATE_REVOKED") as expected:
                call()
            assert "is revoked" in expected.error.message
    assert env.viewer.get(job.id).status == job_pb2.JOB_STATUS_RUNNING
    env.admin.stop(job.id, grace_period=0)


def server_certificate_of_another_ca(env: Environment) -> None:
    with env.untrusting_client() as client, expect_error("UNAVAILABLE"):
        client.list(deadline=10)


def too_many_jobs(env: Environment) -> None:
    job = env.limited.create("sleep", "600")
    with expect_error("RESOURCE_EXHAUSTED", "TOO_MANY_JOBS"):
        env.limited.create("true")
    env.limited.stop(job.id, grace_period=0)
    env.limited.wait(env.limited.create("true").id)


def deadline(env: Environment) -> None:
    job = job_that_ignores_sigterm(env)
    with expect_error("DEADLINE_EXCEEDED"):
        env.admin.wait(job.id, deadline=0.5)
    with expect_error("DEADLINE_EXCEEDED"):
        env.admin.stop(job.id, grace_period=600, deadline=0.5)
    env.admin.stop(job.id, grace_period=0)
