"""Jobs in the queue: how they are stored, started, and ended without having run."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import NamedTuple

from msgspec.structs import replace

from jobworkerd.config import Config
from jobworkerd.errors import CommandNotStarted, HostExhausted, JobWorkerError, ShuttingDown
from jobworkerd.exhaustion import describe, is_exhaustion
from jobworkerd.model import (
    Job,
    JobStatus,
    StartError,
    Termination,
    TerminationReason,
    transition,
)
from jobworkerd.records.sealing import CannotUnseal
from jobworkerd.records.store import Records
from jobworkerd.supervisor.admission import Admission, Waiting
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.outcome import never_ran

_RETRY_SECONDS = 1.0

Launch = Callable[[Job, "asyncio.Future[Job]", Callable[[Job], Awaitable[None]]], Awaitable[Job]]
"""Starts a job and returns it when its command runs. The third argument stores its record before that."""

_Step = Coroutine[None, None, None]


class _Leaving(NamedTuple):
    """A job that enters or leaves the queue, until `settled`. `job` is what clients see; None = it starts."""

    job: Job | None
    settled: "asyncio.Future[None]"


class _Commit:
    """Stores that a job leaves the queue. Its environment stays until its command runs."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.sealed_env: bytes | None = None
        self.done = False

    async def __call__(self, starting: Job) -> None:
        try:
            await self._records.replace(starting, self.sealed_env)
        except OSError as error:
            raise _not_stored(error) from error
        self.done = True


class QueuedJobs:
    """The jobs that wait. Only this class writes the final status of a job whose command never ran."""

    def __init__(
        self, config: Config, context: JobContext, launch: Launch, on_end: Callable[[Job], None]
    ) -> None:
        """`launch` starts a job. `on_end` is called with each final job when its record is committed."""
        self._context = context
        self._records = context.records
        self._launch = launch
        self._on_end = on_end
        self.admission = Admission(config, context.loop, self._start, self._refuse, self._time_out)
        self._leaving: dict[str, _Leaving] = {}
        self._draining = False

    def load(self) -> None:
        """Let the queued jobs of an earlier server wait again, and start those for which there is room.

        All jobs that run already must count before. The wall clock tells how long a job has waited. If it was
        set back, the job has not waited.

        Raises:
            OSError: the records cannot be read.
        """
        now = time.time_ns()
        for job in self._records.queued():
            longest = job.spec.queue_timeout or 0.0
            self.admission.add(job, longest - max(0.0, (now - job.create_time_ns) / 1e9))

    async def add(self, job: Job) -> Job:
        """Store a new job and let it wait. Returns it with its position.

        Raises:
            QuotaExceeded: the maximum number of jobs of the owner wait.
            TooManyJobs: the queue is full.
            HostExhausted: the record cannot be stored.
        """
        with self.admission.place(job.spec.owner):
            self._leave(job.id, job)
            try:
                env = job.spec.env
                sealed_env = await self._records.sealer.seal(job.id, env) if env else None
                request_hash = await self._records.request_hashes.of(job.spec)
                await self._records.insert(job, request_hash, sealed_env)
            except OSError as error:
                raise _not_stored(error) from error
            finally:
                self._settle(job.id)
        assert job.spec.queue_timeout
        self.admission.add(job, job.spec.queue_timeout)
        return self.admission.annotate([job])[0]

    def find(self, job_id: str) -> Job | None:
        """Return a job that waits, or that enters or leaves the queue.

        Raises:
            OSError: the records cannot be read.
        """
        if leaving := self._leaving.get(job_id):
            return leaving.job or transition(self._record(job_id), JobStatus.INITIALIZING)
        if job_id in self.admission:
            return self.admission.annotate([self._record(job_id)])[0]
        return None

    def is_changing(self, job_id: str) -> bool:
        """Return whether a job enters or leaves the queue."""
        return job_id in self._leaving

    async def stop(self, job: Job, subject: str) -> None:
        """End a job that waits. If it enters or leaves the queue, wait for its next state.

        Raises:
            KeyError: the job does not wait.
        """
        if leaving := self._leaving.get(job.id):
            await asyncio.wait([leaving.settled])
        else:
            self.admission.remove(job.id)
            why = f"stopped by {subject} in the queue; the command never ran"
            await self._end(
                job, Termination(reason=TerminationReason.STOPPED, message=why, stopped_by=subject)
            )

    def close(self) -> None:
        """Start no more jobs. Jobs that wait stay in the records."""
        self._draining = True
        self.admission.close()

    def _start(self, waiting: Waiting) -> _Step:
        self._leave(waiting.job.id)
        self._context.changes.changed(waiting.job.id)
        return self._start_now(waiting)

    async def _start_now(self, waiting: Waiting) -> None:
        """Start a job that has left the queue. It waits again if the host is exhausted."""
        started: asyncio.Future[Job] = self._context.loop.create_future()
        commit = _Commit(self._records)
        try:
            job = await self._complete(waiting.job.id, commit)
            self._settle(job.id)
            started.set_result(await self._launch(job, started, commit))
        except Exception as error:  # noqa: BLE001 - a job must get an end after a bug, too
            await self._start_failed(waiting, error, commit)
            started.set_exception(error)
            started.exception()  # marks it as retrieved: no request has to wait for it

    async def _complete(self, job_id: str, commit: _Commit) -> Job:
        """Return a job with its environment, as it starts."""
        job = transition(await self._read(job_id), JobStatus.INITIALIZING)
        try:
            commit.sealed_env = self._records.sealed_env(job_id)
            if commit.sealed_env:
                env = await self._records.sealer.unseal(job_id, commit.sealed_env)
                job = replace(job, spec=replace(job.spec, env=env))
        except OSError as error:
            raise HostExhausted(f"the record of the job cannot be read: {error.strerror}") from error
        self._context.logs.remove_leftover(job_id)
        if self._draining:
            raise ShuttingDown
        return job

    async def _start_failed(self, waiting: Waiting, error: Exception, commit: _Commit) -> None:
        job_id = waiting.job.id
        if _is_passing(error) and not commit.done:
            self.admission.put_back(waiting, _problem(error))
            self._settle(job_id)
            self._context.changes.changed(job_id)
            return
        await self.end_failed(job_id, error)

    async def end_failed(self, job_id: str, error: Exception) -> None:
        """End a job that has left the queue and whose start has failed."""
        self._leave(job_id)
        if not _is_passing(error) and not isinstance(error, JobWorkerError | CannotUnseal):
            self._context.on_fault("start of a queued job", error)
        await self._end(await self._read(job_id), _not_started(error))
        self.admission.release(job_id)

    def _refuse(self, job_id: str, why: str) -> _Step:
        self._leave(job_id)
        return self._end_unread(job_id, TerminationReason.NOT_STARTED, why)

    def _time_out(self, job_id: str) -> _Step:
        self._leave(job_id)
        return self._end_unread(job_id, TerminationReason.QUEUE_TIMED_OUT)

    async def _end_unread(self, job_id: str, reason: TerminationReason, why: str = "") -> None:
        job = await self._read(job_id)
        longest = f"{job.spec.queue_timeout:g} s" if job.spec.queue_timeout else ""
        message = why or f"reached the queue timeout of {longest}; the command never ran"
        await self._end(job, Termination(reason=reason, message=message))

    async def _end(self, job: Job, termination: Termination) -> None:
        """Store the final status of a job, and then publish it. Wait while the disk fails: the keeper has no
        entry for the job, so a supervisor that dies would bring it back into the queue.
        """
        waited = replace(job, queue_position=0, queue_reason="")
        final = never_ran(waited, termination)
        self._leave(job.id, waited)
        try:
            await self._records.update(final)
            while not self._records.is_stored(job.id):
                await asyncio.sleep(_RETRY_SECONDS)
                await self._records.update(final)
        finally:
            self._settle(job.id)
        self._on_end(final)

    async def _read(self, job_id: str) -> Job:
        """Return a record, which exists. Wait while the disk fails."""
        while True:
            try:
                return self._record(job_id)
            except OSError as error:
                self._context.on_fault("records", error)
                await asyncio.sleep(_RETRY_SECONDS)

    def _record(self, job_id: str) -> Job:
        job = self._records.get(job_id)
        assert job, "only final jobs are deleted"
        return job

    def _leave(self, job_id: str, job: Job | None = None) -> None:
        """Note that a job enters or leaves the queue."""
        earlier = self._leaving.get(job_id)
        settled = earlier.settled if earlier else self._context.loop.create_future()
        self._leaving[job_id] = _Leaving(job, settled)

    def _settle(self, job_id: str) -> None:
        if leaving := self._leaving.pop(job_id, None):
            leaving.settled.set_result(None)


def _is_passing(error: Exception) -> bool:
    return is_exhaustion(error) or isinstance(error, HostExhausted | ShuttingDown)


def _not_stored(error: OSError) -> HostExhausted:
    return HostExhausted(f"the record of the job cannot be stored: {error.strerror}")


def _problem(error: Exception) -> str:
    """Return why the server cannot start a job now."""
    if isinstance(error, ShuttingDown):
        return "the server is shutting down"
    what = error.why if isinstance(error, HostExhausted) else describe(error)
    return f"the host of the server is exhausted ({what})"


def _not_started(error: Exception) -> Termination:
    """Return the end of a job that could not start."""
    return Termination(
        reason=TerminationReason.NOT_STARTED, message=_message(error), start_error=_start_error(error)
    )


def _start_error(error: Exception) -> StartError | None:
    match error:
        case CommandNotStarted(field=field, errno_name=errno_name):
            return StartError(type(error).__name__, field, errno_name)
        case JobWorkerError():
            return StartError(type(error).__name__)
    return StartError(HostExhausted.__name__) if is_exhaustion(error) else None


def _message(error: Exception) -> str:
    """Return the message for a job that could not start."""
    if isinstance(error, CannotUnseal):
        return f"the environment of the job cannot be decrypted: {error}"
    if is_exhaustion(error):
        return str(HostExhausted(describe(error)))
    return str(error) if isinstance(error, JobWorkerError) else f"internal error of the server: {error!r}"
