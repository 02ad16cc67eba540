"""The table of all jobs, and the rules for new ones. `live_job` starts, stops and ends each job."""

import asyncio
import time
from collections.abc import Callable, Iterable

from jobworkerd.config import Config
from jobworkerd.errors import JobNotFound, JobNotRunning, RequestIdReused, ShuttingDown, TooManyJobs
from jobworkerd.model import AppliedLimit, Job, JobSpec, JobStatus, TerminationReason
from jobworkerd.protocol.messages import JobPage, ListJobs, StopJob, UpdateJob
from jobworkerd.supervisor.event_log import EventLog
from jobworkerd.supervisor.ids import JobIds
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.listing import Listing
from jobworkerd.supervisor.live_job import LiveJob
from jobworkerd.supervisor.outcome import Intent

_QUIET_SECONDS = 0.003
"""So long after a job's start its client has the answer."""

_SETTLED_SECONDS = 0.25
"""Changes of the host's mounts that follow one another within this time count as one."""


class Jobs:
    """The one owner of every job, live or final."""

    def __init__(
        self,
        config: Config,
        context: JobContext,
        log: EventLog,
        on_change: Callable[[str], None],
        on_forget: Callable[[str], None],
    ) -> None:
        """`on_change` is called with a job's id when it has more output or another status, `on_forget` when
        a final one is dropped.
        """
        self._config = config
        self._context = context
        self._event_log = log
        self._on_change = on_change
        self._on_forget = on_forget
        self._ids = JobIds()
        self._live: dict[str, LiveJob] = {}
        self._final: dict[str, Job] = {}
        self._listing = Listing(self.get)
        self._starts: dict[str, asyncio.Future[Job]] = {}
        self._ends: dict[str, asyncio.Task[Job]] = {}
        self._requests: dict[tuple[str, str], tuple[JobSpec, str, asyncio.Future[Job]]] = {}
        self._preparing: asyncio.TimerHandle | None = None
        self._giving_back = False
        self._draining = False

    async def start(self, spec: JobSpec) -> Job:
        """Starts a job and returns it once its command runs.

        A request id that the same owner used before gives the first job, as it is now.
        """
        key = (spec.owner, spec.request_id)
        if spec.request_id and key in self._requests:
            return await self._repeated(spec, *self._requests[key])
        if self._draining:
            raise ShuttingDown
        if len(self._live) >= self._config.max_jobs:
            raise TooManyJobs(self._config.max_jobs)
        job = Job(id=self._ids.new(), spec=spec, status=JobStatus.INITIALIZING, create_time_ns=time.time_ns())
        started: asyncio.Future[Job] = self._context.loop.create_future()
        if spec.request_id:
            self._requests[key] = (spec, job.id, started)
        self._starts[job.id] = started
        try:
            running = await self._launch(job)
        except BaseException as error:
            if spec.request_id:
                del self._requests[key]
            started.set_exception(error)
            started.exception()  # nobody need wait for it
            raise
        finally:
            del self._starts[job.id]
        started.set_result(running)
        return running

    async def _repeated(
        self, spec: JobSpec, first: JobSpec, job_id: str, started: asyncio.Future[Job]
    ) -> Job:
        if spec != first:
            raise RequestIdReused(spec.request_id, job_id)
        await asyncio.shield(started)
        return self.get(job_id)

    async def _launch(self, job: Job) -> Job:
        live = self._live[job.id] = LiveJob(job, self._context, self._on_change)
        self._listing.add(job.id)
        try:
            running = await live.run()
        except BaseException:
            del self._live[job.id]
            self._listing.remove(job.id)
            raise
        # Once the answer is on its way, which is when this task waits again.
        self._context.loop.call_soon(self._log_start, running)
        self._prepare_when_quiet()
        self._ends[job.id] = self._context.loop.create_task(self._end(live))
        return running

    def _prepare_when_quiet(self) -> None:
        """What is made ahead must take no core from those who wait now; it is put off while some is left."""
        if self._preparing:
            if not self._context.spares.left:
                return
            self._preparing.cancel()
        self._preparing = self._context.loop.call_later(_QUIET_SECONDS, self.prepare)

    def host_changed(self) -> None:
        """Drops what was made ahead of the host as it was, and makes it again once the changes are over."""
        self._context.spares.drop()
        if self._preparing:
            self._preparing.cancel()
        self._preparing = self._context.loop.call_later(_SETTLED_SECONDS, self.prepare)

    def prepare(self) -> None:
        """Makes ahead what the next job would have to wait for."""
        self._preparing = None
        self._context.spares.refill()
        self._context.logs.prepare()

    async def _end(self, live: LiveJob) -> Job:
        job = await live.end()
        del self._live[job.id]
        self._final[job.id] = job
        del self._ends[job.id]
        self._log_end(job)
        self._on_change(job.id)
        # Once the end is told: a large log takes a file system long to remove.
        self._context.loop.call_soon(self._forget_oldest)
        return job

    def get(self, job_id: str, *, live_usage: bool = False) -> Job:
        """Returns a job as it is at this moment.

        Raises:
            JobNotFound: there is none, or it has been forgotten.
        """
        if live := self._live.get(job_id):
            return live.snapshot(live_usage=live_usage)
        if job := self._final.get(job_id):
            return job
        raise JobNotFound(job_id)

    def progress(self, job_id: str) -> tuple[int, Job | None]:
        """Returns the size of a job's log and, once it is final, the job."""
        if live := self._live.get(job_id):
            return live.log_size, None
        job = self._final[job_id]
        return job.log_size, job

    def list(self, request: ListJobs) -> JobPage:
        """Returns a page of jobs, the newest first."""
        return self._listing.page(request)

    async def stop(self, request: StopJob) -> Job:
        """Ends a job and returns it once it is final; one that is final already, as it is.

        Raises:
            JobNotFound: there is none, or it was just being started, and its command cannot be executed.
        """
        job = self.get(request.job_id)
        if job.status.final:
            return job
        live = self._live[request.job_id]
        grace = job.spec.stop_grace_period if request.grace_period is None else request.grace_period
        self._event_log.info("job stop", job_id=job.id, by=request.subject, grace_period=grace)
        live.stop(Intent(TerminationReason.STOPPED, request.subject), grace)
        if start := self._starts.get(job.id):
            await asyncio.wait([start])
        if end := self._ends.get(job.id):
            return await asyncio.shield(end)
        return self.get(job.id)

    def update(self, request: UpdateJob) -> Job:
        """Changes limits of a running job and returns it.

        Raises:
            JobNotFound: there is none.
            JobNotRunning: it has ended, or does not run yet.
            LimitUnavailable: its policy is strict, and a limit cannot be enforced; then it has all as before.
        """
        job = self.get(request.job_id)
        if job.status is not JobStatus.RUNNING:
            raise JobNotRunning(job.id, job.status.value)
        updated = self._live[job.id].update(request.limits)
        changes = request.limits.changes
        self._event_log.info("job updated", job_id=job.id, by=request.subject, limits=changes)
        self._warn(job.id, (limit for limit in updated.limits_applied if limit.limit in changes))
        return updated

    @property
    def live(self) -> Iterable[LiveJob]:
        """The jobs that are not final."""
        return self._live.values()

    @property
    def running_ids(self) -> tuple[str, ...]:
        """The jobs that are not final."""
        return tuple(self._live)

    async def shut_down(self, longest_grace: float) -> None:
        """Refuses new jobs, stops those that run, and returns once all are final.

        Each job has its own grace period, but no more than the longest one (seconds).
        """
        self._draining = True
        intent = Intent(TerminationReason.STOPPED)
        while self._live:
            for live in self._live.values():
                live.stop(intent, min(live.snapshot().spec.stop_grace_period, longest_grace))
            await asyncio.wait([*self._starts.values(), *self._ends.values()])

    def kill_all(self) -> None:
        """Kills every job now; `shut_down` then returns soon."""
        for live in self._live.values():
            live.stop(Intent(TerminationReason.STOPPED), 0)

    def _forget_oldest(self) -> None:
        while len(self._final) > self._config.keep_jobs:
            job = self._final.pop(next(iter(self._final)))
            self._listing.remove(job.id)
            self._on_forget(job.id)
            self._requests.pop((job.spec.owner, job.spec.request_id), None)
            self._context.logs.discard(job.id)
            if not self._giving_back:
                self._give_back_space()

    def _give_back_space(self) -> None:
        """One piece in each turn of the loop, so that the other jobs' output is read between them."""
        self._giving_back = self._context.logs.give_back()
        if self._giving_back:
            self._context.loop.call_soon(self._give_back_space)

    def _log_start(self, job: Job) -> None:
        self._event_log.info("job started", job_id=job.id, owner=job.spec.owner, pid=job.pid)
        self._warn(job.id, job.limits_applied)
        lacking = {part.part: part.reason for part in job.isolation_applied if not part.in_force}
        if lacking:
            self._event_log.warning("isolation not in force", job_id=job.id, isolation=lacking)

    def _warn(self, job_id: str, limits: Iterable[AppliedLimit]) -> None:
        not_in_force = {limit.limit: limit.reason for limit in limits if not limit.in_force}
        if not_in_force:
            self._event_log.warning("limits not in force", job_id=job_id, limits=not_in_force)

    def _log_end(self, job: Job) -> None:
        assert job.termination
        self._event_log.info(
            "job ended",
            job_id=job.id,
            status=job.status.value,
            exit_code=job.exit_code,
            reason=job.termination.reason.value,
            message=job.termination.message,
            log_size=job.log_size,
        )
