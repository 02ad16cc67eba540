"""Serves clients until the end of the server, or until another supervisor takes over."""

import asyncio
import enum
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from jobworkerd import certificate_files
from jobworkerd.cgroup.sweep import Removed
from jobworkerd.config import Config
from jobworkerd.keeper.client import Handlers, KeeperClient
from jobworkerd.metrics.instruments import Snapshot
from jobworkerd.protocol.server import ApiConnection, ServerParts
from jobworkerd.spawn import accounts, writable_paths
from jobworkerd.spawn.host_watch import HostWatch
from jobworkerd.spawn.identity import Identity
from jobworkerd.startup import CannotStart
from jobworkerd.supervisor.api_processes import ApiProcesses
from jobworkerd.supervisor.cgroup_watch import CgroupWatch
from jobworkerd.supervisor.cluster_jobs import ClusterJobs
from jobworkerd.supervisor.event_log import EventLog
from jobworkerd.supervisor.holder import HeldJob
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_events import JobEvents, ids_of
from jobworkerd.supervisor.jobs import Jobs
from jobworkerd.supervisor.log_sweep import LogSweep
from jobworkerd.supervisor.logins import Logins
from jobworkerd.supervisor.lost_jobs import end_lost_jobs
from jobworkerd.supervisor.memory_watch import MemoryWatch
from jobworkerd.supervisor.metrics_collection import MetricsCollection
from jobworkerd.supervisor.shutdown import Shutdown

_KILLED_WITHIN_SECONDS = 10.0
"""How long a shutdown waits for killed jobs, like `kill_timer.EFFECT_SECONDS`."""

_API_ENDS_WITHIN_SECONDS = 5.0


class End(enum.Enum):
    """The reason why the supervisor ends."""

    JOBS_ENDED = enum.auto()
    JOBS_LEFT = enum.auto()
    HANDED_OVER = enum.auto()
    """Another supervisor continues."""
    KEEPER_LOST = enum.auto()
    """The jobs are lost, because their parent has died."""


class Server(NamedTuple):
    """The parts of the server that do not belong to jobs."""

    config: Config
    user: Identity | None
    jobs_dir: Path
    keeper: KeeperClient
    events: EventLog
    held: Mapping[str, HeldJob]
    """The jobs of an earlier supervisor of this server."""
    removed: Mapping[str, Removed]
    """The cgroups of an earlier server."""


ENDS_OF_SUPERVISOR = {End.HANDED_OVER, End.KEEPER_LOST}
"""Ends after which everything that the server needs stays in place."""


async def serve(server: Server, context: JobContext) -> End:
    """Start the API processes, and wait for a signal, a reload or the end of the keeper."""

    def connect(on_ready: Callable[[], None]) -> ApiConnection:
        return ApiConnection(
            jobs,
            jobs.inputs.session(),
            parts,
            on_ready=on_ready,
            on_fault=lambda what, error: events.error("fault", error, request=what),
        )

    config, user, jobs_dir, keeper, events, *_ = server
    apis = ApiProcesses(config, user, jobs_dir, events, connect)
    jobs = Jobs(config, context, events, apis.job_changed, apis.job_forgotten)
    cluster = ClusterJobs(jobs, context, events)
    parts = ServerParts(
        partial(certificate_files.read, Path(config.certs_dir)),
        MetricsCollection(partial(_snapshot, server, context, jobs), apis.scrape),
        Logins(context.records.session_key).handle,
        cluster.handle,
    )
    writable = writable_paths.watched_paths(config)
    watch = HostWatch(context.loop, map(Path, accounts.FILES), writable, jobs.preparation.host_changed)
    memory_watch = _watch_memory(config, context, jobs, events)
    cgroup_watch = CgroupWatch(
        context.loop, context.hierarchy, lambda: jobs.live, events, apis.limits_problem
    )
    await _continue_jobs(jobs, cluster, server, context)
    jobs.preparation.prepare()
    log_sweep = _sweep_logs(jobs_dir, context, events)
    shutdown = Shutdown(jobs, events)
    replaced, lost = asyncio.Event(), asyncio.Event()
    keeper.watch(Handlers(shutdown.handle, replaced.set, events.note, lost.set))
    end: End | None = None
    try:
        ends = {
            asyncio.create_task(shutdown.requested.wait()): None,
            asyncio.create_task(replaced.wait()): End.HANDED_OVER,
            asyncio.create_task(lost.wait()): End.KEEPER_LOST,
        }
        starting = asyncio.create_task(apis.start())
        await asyncio.wait([starting, *ends], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            endpoint = {"metrics": config.metrics.listen} if config.metrics.listen else {}
            base = str(context.hierarchy.base or "")
            events.info("serving", address=config.listen, cgroup_base=base, **endpoint)
            keeper.ready()
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        starting.cancel()
        end = next(ends[task] for task in ends if task.done())
        if end is End.KEEPER_LOST:
            events.error("keeper died", running=len(jobs.live_ids))
            context.hierarchy.kill_jobs()
            jobs.kill_process_groups()
        if end is None:
            keeper.stopping()
            events.info("shutting down", running=len(jobs.live_ids))
            apis.drain()
            end = await _stop_jobs(jobs, config, events)
    finally:
        if end is not End.HANDED_OVER:
            await apis.close(_API_ENDS_WITHIN_SECONDS)
        for part in (watch, memory_watch, cgroup_watch, log_sweep, shutdown, cluster.lease, jobs):
            part.close()
    events.info("ended")
    return end


def _snapshot(server: Server, context: JobContext, jobs: Jobs) -> Snapshot:
    queued = len(jobs.queued.admission)
    return context.counters.snapshot(len(jobs.live_ids), queued, context.logs.totals, server.jobs_dir)


async def _continue_jobs(jobs: Jobs, cluster: ClusterJobs, server: Server, context: JobContext) -> None:
    """Take over the jobs of an earlier supervisor and the queue, and end the lost jobs.

    Raises:
        CannotStart: the records cannot be read.
    """
    try:
        adopted = await jobs.adopt(server.held)
        server.keeper.discard_others(jobs.pids)
        if context.scratch:
            context.scratch.sweep(jobs.live_ids)
        end_lost_jobs(context, JobEvents(server.events), server.removed, adopted)
        jobs.queued.load()
        cluster.lease.resume()
    except OSError as error:
        raise CannotStart(
            f"the records cannot be read ({error}); check the disk of --state-dir, or restore its files "
            "from a backup"
        ) from error


def _sweep_logs(jobs_dir: Path, context: JobContext, events: EventLog) -> LogSweep:
    return LogSweep(
        context.loop,
        jobs_dir,
        context.logs,
        context.records.has,
        lambda error: events.error("fault", error, step="log sweep"),
    )


def _watch_memory(config: Config, context: JobContext, jobs: Jobs, events: EventLog) -> MemoryWatch:
    return MemoryWatch(
        context.loop,
        context.hierarchy.jobs if context.hierarchy.base else None,
        config.memory.high_patience,
        lambda: jobs.live,
        lambda job_id: events.info("job near its memory limit", **ids_of(jobs.get(job_id))),
    )


async def _stop_jobs(jobs: Jobs, config: Config, events: EventLog) -> End:
    try:
        async with asyncio.timeout(config.shutdown_timeout + _KILLED_WITHIN_SECONDS):
            await jobs.shut_down(config.shutdown_timeout)
    except TimeoutError:
        events.error("jobs did not end", job_ids=list(jobs.live_ids))
        return End.JOBS_LEFT
    return End.JOBS_ENDED
