"""The status of the Pod of a job."""

from typing import Any

import pytest

from jobworker.v1 import job_pb2
from jobworker_agent.pod_status import exit_code, pod_status
from tests.unit.agent.fakes import a_job


def _status(job: job_pb2.Job, host_ip: str = "10.0.0.1") -> dict[str, Any]:
    status: Any = pod_status(job, host_ip)
    return dict(status)


def _ended(status: job_pb2.JobStatus.ValueType, **fields: Any) -> job_pb2.Job:
    job = a_job(status)
    job.MergeFrom(job_pb2.Job(**fields))
    return job


def test_a_running_job_is_a_running_container() -> None:
    status = _status(a_job())
    assert status["phase"] == "Running"
    assert status["hostIP"] == "10.0.0.1"
    [container] = status["containerStatuses"]
    assert container["state"] == {"running": {"startedAt": "1970-01-01T00:16:41Z"}}
    assert {condition["status"] for condition in status["conditions"]} == {"True"}


def test_a_node_with_a_name_only_has_no_address() -> None:
    assert "hostIP" not in _status(a_job(), host_ip="")


@pytest.mark.parametrize(
    ("status", "termination", "phase", "reason"),
    [
        (job_pb2.JOB_STATUS_COMPLETED, job_pb2.TERMINATION_REASON_EXITED, "Succeeded", "Exited"),
        (job_pb2.JOB_STATUS_FAILED, job_pb2.TERMINATION_REASON_OOM_KILLED, "Failed", "OomKilled"),
        (job_pb2.JOB_STATUS_STOPPED, job_pb2.TERMINATION_REASON_EVICTED, "Failed", "Evicted"),
        (job_pb2.JOB_STATUS_LOST, job_pb2.TERMINATION_REASON_LOST, "Failed", "Lost"),
    ],
)
def test_the_phase_follows_the_final_status(
    status: job_pb2.JobStatus.ValueType,
    termination: job_pb2.TerminationReason.ValueType,
    phase: str,
    reason: str,
) -> None:
    job = _ended(status, termination=job_pb2.Termination(reason=termination, message="m" * 2_000))
    found = _status(job)
    assert (found["phase"], found["reason"]) == (phase, reason)
    state = found["containerStatuses"][0]["state"]["terminated"]
    assert (state["reason"], state["finishedAt"]) == (reason, "1970-01-01T00:16:42Z")
    assert len(state["message"]) == 1_024


def test_a_job_that_never_started_began_and_ended_at_once() -> None:
    job = _ended(job_pb2.JOB_STATUS_FAILED)
    job.ClearField("start_time")
    found = _status(job)
    state = found["containerStatuses"][0]["state"]["terminated"]
    assert state["startedAt"] == state["finishedAt"]
    assert "startTime" not in found


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"exit_code": 3}, 3),
        ({"exit_code": 0}, 0),
        ({"termination": job_pb2.Termination(signal=9)}, 137),
        ({}, 128),
    ],
)
def test_the_exit_code_is_that_of_a_shell(fields: dict[str, Any], code: int) -> None:
    assert exit_code(_ended(job_pb2.JOB_STATUS_FAILED, **fields)) == code
