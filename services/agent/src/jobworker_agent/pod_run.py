"""The life of one attempt: takes one step after the other until the Pod has the final record."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import StrEnum
from typing import TypeAlias, TypeVar

import structlog

from jobworker.v1 import error_reason_pb2, job_pb2
from jobworker_agent import records_of_end
from jobworker_agent.cluster import ClusterUnavailable, SecretRefused, SecretUnreadable
from jobworker_agent.host_errors import HostError, HostUnavailable, JobUnknown, reason_name
from jobworker_agent.start import Starter
from jobworker_agent.steps import (
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
    step_name,
)
from jobworker_cluster.pods import JobPod
from jobworker_cluster.records import is_final
from jobworker_cluster.reflector import Backoff

_FIRST_DELAY_SECONDS = 0.02
"""Delay before the first retry: the authorizer often learns of a new Pod milliseconds after the agent."""

_SECRET_TRIES = 11
"""Tries to read a Secret, over about 15 s. Then its absence counts, and clients learn of a refusal."""

_NO_ROOM = reason_name(error_reason_pb2.ERROR_REASON_TOO_MANY_JOBS)

T = TypeVar("T")


class StepResult(StrEnum):
    """The result of a step. A step that was DELAYED or FAILED is repeated; FAILED is a fault of the agent."""

    SUCCESS = "success"
    DELAYED = "delayed"
    FAILED = "failed"


StepCounts: TypeAlias = Counter[tuple[str, StepResult]]
"""The number of steps, by their name and result."""


class PodRun:
    """One attempt. `run` is its only task; `update` and `remove` tell it about changes of the Pod."""

    def __init__(
        self,
        pod: JobPod,
        starter: Starter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        *,
        steps: StepCounts,
    ) -> None:
        """`steps` counts the steps of all attempts."""
        self._pod = pod
        self._starter = starter
        self._host = starter.host
        self._sleep = sleep
        self._steps = steps
        self._progress = Progress()
        self._backoff = Backoff(first=_FIRST_DELAY_SECONDS, last=10.0)
        self._secret_tries = 0
        self._refusals = 0
        self._removed = False
        self._changed = asyncio.Event()
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
            job=pod.job_id, attempt=pod.attempt, pod_uid=pod.uid
        )

    @property
    def state(self) -> PodState:
        """The state of the job."""
        return pod_state(self._pod, self._progress)

    def update(self, pod: JobPod) -> None:
        """Use a new state of the Pod for the next step."""
        self._pod = pod
        self._changed.set()

    def remove(self) -> None:
        """End after the step in progress, because the Pod does not exist any more."""
        self._removed = True
        self._changed.set()

    async def run(self) -> None:
        """Take steps until the attempt is reported, or the Pod does not exist any more."""
        while not self._removed:
            self._changed.clear()
            step = next_step(self._pod, self._progress)
            if isinstance(step, Done):
                return
            await self._try(step)

    async def _try(self, step: Step) -> None:
        name = step_name(type(step))
        try:
            await self._take(step)
        except (HostError, ClusterUnavailable, SecretUnreadable) as error:
            reason = error.reason if isinstance(error, HostError) else type(error).__name__
            self._log.info("job step delayed", step=name, reason=reason, error=str(error))
            self._steps[name, StepResult.DELAYED] += 1
        except Exception:  # noqa: BLE001 - one broken Pod must not end the agent, which keeps the others
            self._log.exception("job step failed", step=name)
            self._steps[name, StepResult.FAILED] += 1
        else:
            self._steps[name, StepResult.SUCCESS] += 1
            self._backoff.reset()
            return
        await self._or_change(self._sleep(self._backoff.next()))

    async def _take(self, step: Step) -> None:
        try:
            await self._take_known(step)
        except JobUnknown:
            self._progress = replace(self._progress, job=None, asked=True)

    async def _take_known(self, step: Step) -> None:
        pod = self._pod
        match step:
            case Start():
                self._learn(await self._start(pod))
            case Look():
                self._learn(await self._find(pod))
            case Wait():
                if job := await self._or_change(self._host.wait(pod.job_id, pod.initial.owner)):
                    self._learn(job)
            case Stop(subject, grace_period):
                self._log.info("stop started", stopped_by=subject, grace_period=grace_period)
                await self._end_job(self._host.stop(pod.job_id, subject, grace_period))
            case Evict(message):
                self._log.info("eviction started", message=message)
                await self._end_job(self._host.evict(pod.job_id, message))
            case Report(job):
                await self._report(pod, job)

    async def _find(self, pod: JobPod) -> job_pb2.Job | None:
        """Return the job of an attempt; None if it is not on the host, which then has to be the node."""
        job = await self._starter.find(pod)
        if job is None:
            self._starter.require_lease()
        return job

    async def _end_job(self, stopping: Awaitable[job_pb2.Job]) -> None:
        """Wait for the end of the job, or until a client has shortened the grace period."""
        if job := await self._or_change(stopping):
            self._learn(job)

    async def _start(self, pod: JobPod) -> job_pb2.Job:
        try:
            return await self._starter.start(pod)
        except SecretUnreadable as error:
            self._secret_tries += 1
            if self._secret_tries < _SECRET_TRIES:
                raise
            return records_of_end.not_started(pod, f"the Secret {pod.secret} cannot be read: {error}")
        except SecretRefused as error:
            # The identity of the agent is wrong then, not the job. It would fail all jobs of the cluster.
            self._refusals += 1
            if self._refusals >= _SECRET_TRIES and (timed_out := await self._note(pod, str(error))):
                return timed_out
            raise
        except HostUnavailable as error:
            # Users of the host can have taken the room that the scheduler counted on.
            why, _, _remedy = str(error).partition("; ")
            if error.reason == _NO_ROOM and (timed_out := await self._note(pod, why)):
                return timed_out
            raise

    async def _note(self, pod: JobPod, why: str) -> job_pb2.Job | None:
        """Tell clients why a job has not started. Return its final record if it has waited for too long."""
        if timed_out := records_of_end.queue_timed_out(pod, self._starter.cluster.time()):
            return timed_out
        if why != pod.shortage:
            await self._starter.cluster.note_shortage(pod, why)
        return None

    def _learn(self, job: job_pb2.Job | None) -> None:
        former = self._progress.job
        self._progress = replace(self._progress, job=job, asked=True)
        if job and (former is None or former.status != job.status):
            self._log.info("job found", status=job_pb2.JobStatus.Name(job.status))

    async def _report(self, pod: JobPod, job: job_pb2.Job) -> None:
        written = await self._starter.cluster.report(pod, job)
        if written is None:
            self._log.info("pod gone", status=job_pb2.JobStatus.Name(job.status))
            self._removed = True
            return
        if written.version > self._pod.version:
            self._pod = written
        self._progress = replace(self._progress, reported=job)
        if is_final(job):
            self._log.info(
                "job reported", status=job_pb2.JobStatus.Name(job.status), message=job.termination.message
            )

    async def _or_change(self, action: Awaitable[T]) -> T | None:
        """Return the result of an action, or None as soon as the Pod has changed. Ends the action then."""
        task = asyncio.ensure_future(action)
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({task, changed}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            await _end(task)
            await _end(changed)


async def _end(task: "asyncio.Future[T]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
