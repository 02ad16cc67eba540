"""The next step of an attempt."""

from dataclasses import replace

import pytest

from jobworker.v1 import job_pb2
from jobworker_agent.steps import (
    STEP_NAMES,
    Done,
    Evict,
    Look,
    PodState,
    Progress,
    Report,
    Start,
    Step,
    Stop,
    Wait,
    next_step,
    pod_state,
)
from jobworker_cluster.pods import JobPod
from tests.unit.agent.fakes import a_job, a_pod

POD = a_pod()
RUNNING = a_job()
ENDED = a_job(job_pb2.JOB_STATUS_COMPLETED)
UNWANTED = replace(POD, deleted=True, disruption="PreemptionByScheduler")
STOPPED = replace(POD, deleted=True, stopped_by="CN=bob")


@pytest.mark.parametrize(
    ("pod", "progress", "step"),
    [
        pytest.param(POD, Progress(), Start(), id="bound"),
        pytest.param(POD, Progress(job=RUNNING, asked=True), Report(RUNNING), id="started"),
        pytest.param(
            POD, Progress(job=RUNNING, asked=True, reported=RUNNING), Wait(), id="started and reported"
        ),
        pytest.param(
            POD, Progress(job=ENDED, asked=True, reported=RUNNING), Report(ENDED), id="ended while it ran"
        ),
        pytest.param(POD, Progress(job=ENDED, asked=True), Report(ENDED), id="ended at once"),
        pytest.param(POD, Progress(job=ENDED, asked=True, reported=ENDED), Done(), id="reported"),
        # After a restart of the agent, it knows only the Pod.
        pytest.param(replace(POD, record=RUNNING), Progress(), Look(), id="the Pod says it runs"),
        pytest.param(
            replace(POD, record=RUNNING), Progress(job=RUNNING, asked=True), Wait(), id="and so it does"
        ),
        pytest.param(replace(POD, record=ENDED), Progress(), Done(), id="the Pod says it has ended"),
        pytest.param(
            replace(UNWANTED, record=ENDED), Progress(), Done(), id="the Pod says so and is being deleted"
        ),
        # The cluster does not want the job any more.
        pytest.param(UNWANTED, Progress(), Look(), id="unwanted, perhaps started"),
        pytest.param(
            UNWANTED,
            Progress(job=RUNNING, asked=True),
            Evict("preempted: a job with a higher priority took its place"),
            id="preempted while it ran",
        ),
        pytest.param(STOPPED, Progress(job=RUNNING, asked=True), Stop("CN=bob"), id="stopped by a client"),
        pytest.param(
            replace(STOPPED, stop_grace_period=0.0),
            Progress(job=RUNNING, asked=True),
            Stop("CN=bob", 0.0),
            id="killed by a client",
        ),
        pytest.param(
            UNWANTED, Progress(job=ENDED, asked=True, reported=RUNNING), Report(ENDED), id="evicted, ended"
        ),
    ],
)
def test_the_next_step_follows_from_pod_and_host(pod: JobPod, progress: Progress, step: Step) -> None:
    assert next_step(pod, progress) == step


@pytest.mark.parametrize(
    ("disruption", "message"),
    [
        ("PreemptionByScheduler", "preempted: a job with a higher priority took its place"),
        ("EvictionByEvictionAPI", "drained: an administrator removed the jobs from the node"),
        (
            "DeletionByTaintManager",
            "evicted: the cluster lost contact with the node, or tainted it",
        ),
        ("DeletionByPodGC", "evicted: the node was removed from the cluster"),
        ("Other", "evicted: Other"),
        ("", "evicted: its Pod was deleted"),
    ],
)
def test_an_eviction_names_its_cause(disruption: str, message: str) -> None:
    pod = replace(POD, deleted=True, disruption=disruption)
    assert next_step(pod, Progress(job=RUNNING, asked=True)) == Evict(message)


@pytest.mark.parametrize(
    ("pod", "progress", "state"),
    [
        (POD, Progress(), PodState.PENDING),
        (POD, Progress(job=RUNNING, asked=True), PodState.RUNNING),
        (replace(POD, record=RUNNING), Progress(), PodState.PENDING),  # until the host has told about it
        (replace(POD, record=RUNNING), Progress(job=RUNNING, asked=True), PodState.RUNNING),
        (STOPPED, Progress(job=RUNNING, asked=True), PodState.RUNNING),
        (POD, Progress(job=ENDED, asked=True, reported=RUNNING), PodState.UNREPORTED),
        (replace(POD, record=RUNNING), Progress(asked=True), PodState.UNREPORTED),  # it is LOST
        (POD, Progress(job=ENDED, asked=True, reported=ENDED), PodState.REPORTED),
        (replace(POD, record=ENDED), Progress(), PodState.REPORTED),
    ],
)
def test_the_state_of_a_pod_is_that_of_its_job(pod: JobPod, progress: Progress, state: PodState) -> None:
    assert pod_state(pod, progress) is state


def test_each_step_has_a_name() -> None:
    assert STEP_NAMES == ("start", "look", "report", "wait", "stop", "evict")


def _reported(step: Step) -> job_pb2.Job:
    assert isinstance(step, Report)
    return step.job


def test_a_job_that_a_client_stopped_before_its_start_is_stopped() -> None:
    job = _reported(next_step(STOPPED, Progress(asked=True)))
    assert job.status == job_pb2.JOB_STATUS_STOPPED
    assert job.termination.reason == job_pb2.TERMINATION_REASON_STOPPED
    assert job.termination.stopped_by == "CN=bob"
    assert not job.HasField("start_time")
    assert job.end_time.seconds > 1_000
    assert (job.attempt, job.queue_position) == (1, 0)


def test_a_job_that_was_preempted_before_its_start_is_evicted() -> None:
    job = _reported(next_step(UNWANTED, Progress(asked=True)))
    assert job.status == job_pb2.JOB_STATUS_STOPPED
    assert job.termination.reason == job_pb2.TERMINATION_REASON_EVICTED
    assert job.termination.message.startswith("preempted: ")


@pytest.mark.parametrize("pod", [replace(POD, record=RUNNING), replace(UNWANTED, record=RUNNING)])
def test_a_started_job_that_the_host_does_not_know_is_lost_and_does_not_start_again(pod: JobPod) -> None:
    job = _reported(next_step(pod, Progress(asked=True)))
    assert job.status == job_pb2.JOB_STATUS_LOST
    assert job.start_time == RUNNING.start_time


def test_a_record_does_not_end_before_its_creation() -> None:
    pod = a_pod()
    pod.initial.create_time.FromSeconds(9_999_999_999)
    job = _reported(next_step(replace(pod, deleted=True), Progress(asked=True)))
    assert job.end_time == pod.initial.create_time
