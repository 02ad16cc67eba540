"""Scenarios about calls that fail: each error with its code, reason and details, as clients report it."""

import uuid

from jobworker.v1 import job_pb2
from tests.interop.refusals import refused
from tests.interop.scenarios.jobs import ignoring_sigterm
from tests.interop.stage import Stage


def unknown_id(stage: Stage) -> None:
    job_id = str(uuid.uuid4())
    for call in (stage.viewer.get, stage.admin.stop, stage.viewer.stream, stage.viewer.wait):
        with refused("NOT_FOUND", "JOB_NOT_FOUND") as expected:
            call(job_id)
        assert expected.found.metadata["job_id"] == job_id
        assert job_id in expected.found.message


def bad_arguments(stage: Stage) -> None:
    with refused("INVALID_ARGUMENT", "INVALID_REQUEST") as expected:
        stage.admin.create("true", max_cpu=-1, working_directory="relative")
    assert sorted(expected.found.fields) == ["max_cpu", "working_directory"]


def no_such_command(stage: Stage) -> None:
    with refused("INVALID_ARGUMENT", "COMMAND_NOT_STARTED") as expected:
        stage.admin.create("/no/such/command")
    assert expected.found.metadata["errno"] == "ENOENT"


def offset_past_the_end(stage: Stage) -> None:
    job = stage.admin.create("true")
    stage.admin.wait(job.id)
    with refused("OUT_OF_RANGE", "OFFSET_OUT_OF_RANGE"):
        stage.viewer.stream(job.id, offset=1)


def denied_as_viewer(stage: Stage) -> None:
    job = stage.admin.create("sleep", "600")
    with refused("PERMISSION_DENIED", "ROLE_REQUIRED"):
        stage.viewer.create("true")
    with refused("PERMISSION_DENIED", "ROLE_REQUIRED"):
        stage.viewer.stop(job.id)
    assert stage.viewer.get(job.id).status == job_pb2.JOB_STATUS_RUNNING
    stage.admin.stop(job.id, grace_period=0)


def certificate_of_another_authority(stage: Stage) -> None:
    with stage.stranger() as client, refused("UNAVAILABLE"):
        client.list(deadline=10)


def server_of_another_authority(stage: Stage) -> None:
    with stage.doubter() as client, refused("UNAVAILABLE"):
        client.list(deadline=10)


def too_many_jobs(stage: Stage) -> None:
    job = stage.small.create("sleep", "600")
    with refused("RESOURCE_EXHAUSTED", "TOO_MANY_JOBS"):
        stage.small.create("true")
    stage.small.stop(job.id, grace_period=0)
    stage.small.wait(stage.small.create("true").id)


def deadline(stage: Stage) -> None:
    job = ignoring_sigterm(stage)
    with refused("DEADLINE_EXCEEDED"):
        stage.admin.wait(job.id, deadline=0.5)
    with refused("DEADLINE_EXCEEDED"):
        stage.admin.stop(job.id, grace_period=600, deadline=0.5)
    stage.admin.stop(job.id, grace_period=0)
