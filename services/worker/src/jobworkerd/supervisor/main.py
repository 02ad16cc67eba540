"""The main function of the supervisor: set up, serve, shut down."""

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from jobworkerd import log_sink
from jobworkerd.cgroup.base import BadBase
from jobworkerd.cgroup.hierarchy import Hierarchy, open_hierarchy
from jobworkerd.cgroup.populated import PopulatedWatcher
from jobworkerd.cgroup.sweep import Removed, sweep
from jobworkerd.config import Config
from jobworkerd.job_id import is_job_id
from jobworkerd.log_sink import LogSink
from jobworkerd.logs.store import LogStore
from jobworkerd.logs.writer import MOST_BYTES
from jobworkerd.protocol.server import ApiConnection
from jobworkerd.records.store import Records
from jobworkerd.spawn import accounts, writable_paths
from jobworkerd.spawn.host_watch import HostWatch
from jobworkerd.spawn.identity import Identity
from jobworkerd.spawn.own_children import OwnChildren
from jobworkerd.spawn.private_mounts import HOME
from jobworkerd.spawn.spare_pool import SparePool
from jobworkerd.spawn.spare_setup import Setup
from jobworkerd.spawn.users import UnknownUser, Users
from jobworkerd.spawn.writable_paths import UnusablePath
from jobworkerd.startup import CannotStart
from jobworkerd.supervisor import api_user, autogroup, certificates, open_files
from jobworkerd.supervisor.api_processes import ApiFailed, ApiProcesses
from jobworkerd.supervisor.api_user import NoSuchUser
from jobworkerd.supervisor.cgroup_watch import CgroupWatch
from jobworkerd.supervisor.event_log import EventLog
from jobworkerd.supervisor.isolation_report import isolation_for
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_events import JobEvents
from jobworkerd.supervisor.jobs import Jobs
from jobworkerd.supervisor.log_sweep import LogSweep
from jobworkerd.supervisor.lost_jobs import end_lost_jobs
from jobworkerd.supervisor.memory_watch import MemoryWatch
from jobworkerd.supervisor.notify import notify
from jobworkerd.supervisor.port import PortTaken, reserve
from jobworkerd.supervisor.shutdown import Shutdown
from jobworkerd.supervisor.state_dir import locked_state_dir

_KILLED_WITHIN_SECONDS = 10.0
"""How long a shutdown waits for killed jobs, like `kill_timer.EFFECT_SECONDS`."""

_API_ENDS_WITHIN_SECONDS = 5.0
_UMASK = 0o022
"""Lets the user of the API processes read the logs."""


def run(config: Config) -> int:
    """Serve until a signal requests the shutdown (see `shutdown`). Return the exit code."""
    sink = log_sink.install()
    events = EventLog(config.logging, sys.stderr)
    sink.on_recovery(events.lines_dropped)
    # Objects of the start-up stay: the collector skips them, and a forked child copies fewer pages.
    gc.freeze()
    os.umask(_UMASK)
    try:
        all_ended = asyncio.run(_serve(config, events, sink))
    except (CannotStart, NoSuchUser, PortTaken, BadBase, ApiFailed, UnknownUser, UnusablePath) as error:
        events.error("cannot start", reason=str(error))
        return 1
    finally:
        sink.finish()
    return 0 if all_ended else 1


async def _serve(config: Config, events: EventLog, sink: LogSink) -> bool:
    """Serve until the end of the server. Return True if all jobs have ended."""
    loop = asyncio.get_running_loop()
    sink.watch(loop)
    loop.set_exception_handler(lambda _, context: events.error(context["message"], context.get("exception")))
    isolation = config.isolation
    if isolation.run_as == "dynamic" and isolation.uid_count < config.max_jobs:
        raise CannotStart(
            f"isolation.uid_count: {isolation.uid_count} is below max_jobs, {config.max_jobs}, but each "
            "job needs its own user; raise the first or lower the second"
        )
    if config.defaults.open_files > config.defaults.max_open_files:
        raise CannotStart(
            f"defaults.open_files: {config.defaults.open_files} is above defaults.max_open_files, "
            f"{config.defaults.max_open_files}; lower the first or raise the second"
        )
    for name, why in config.capacity.excess(config.defaults.max_cpu, config.defaults.max_memory).items():
        raise CannotStart(f"defaults.{name}: {why}, or raise the capacity")
    if isolation.mount_namespace:
        writable_paths.check(config)
    with ExitStack() as stack:
        user = api_user.resolve(config.api.user)
        jobs_dir = stack.enter_context(locked_state_dir(Path(config.state_dir), user))
        reserved, address = reserve(config.listen, user.uid if user else None)
        stack.callback(reserved.close)
        hierarchy = open_hierarchy(config.cgroup_base)
        stack.callback(hierarchy.close)
        removed = _report(hierarchy, events)
        _raise_share(hierarchy, events)
        watcher = PopulatedWatcher(loop)
        stack.callback(watcher.close)
        users = Users(config.isolation)
        widest = accounts.entries(users.widest, HOME.decode(), users.widest)
        isolation_setup = isolation_for(config, widest)
        children = OwnChildren(loop)
        stack.callback(children.close)
        setup = Setup(_job_open_files(config, events), os.nice(0), isolation_setup)
        spare_pool = SparePool(setup, children)
        stack.callback(spare_pool.close)
        records = _open_records(config, events)
        stack.callback(records.close)
        logs = LogStore(
            jobs_dir,
            config.log.max_bytes,
            config.log.max_total_bytes,
            lambda error: events.error("log", error),
            records.ended_logs,
        )
        stack.callback(logs.close)
        context = JobContext(
            loop=loop,
            hierarchy=hierarchy,
            watcher=watcher,
            records=records,
            logs=logs,
            io_paths=[Path(device) for device in config.io.devices],
            parent=children,
            spare_pool=spare_pool,
            users=users,
            isolation=isolation,
            read_buffer=memoryview(bytearray(MOST_BYTES)),
            on_fault=lambda what, error: events.error("fault", error, step=what),
            warn=events.warning,
        )
        end_lost_jobs(context, JobEvents(events), removed)
        return await _run(replace(config, listen=address), user, jobs_dir, context, events)


async def _run(
    config: Config, user: Identity | None, jobs_dir: Path, context: JobContext, events: EventLog
) -> bool:
    """Start the API processes, wait for a signal, and end jobs and processes in order.

    Returns True if all jobs have ended.
    """

    def connect(on_ready: Callable[[], None]) -> ApiConnection:
        return ApiConnection(
            jobs,
            partial(certificates.read, Path(config.certs_dir)),
            on_ready=on_ready,
            on_fault=lambda what, error: events.error("fault", error, request=what),
        )

    apis = ApiProcesses(config, user, jobs_dir, events, connect)
    jobs = Jobs(config, context, events, apis.job_changed, apis.job_forgotten)
    writable = writable_paths.watched_paths(config)
    watch = HostWatch(context.loop, map(Path, accounts.FILES), writable, jobs.preparation.host_changed)
    memory_watch = _watch_memory(config, context, jobs, events)
    cgroup_watch = CgroupWatch(
        context.loop, context.hierarchy, lambda: jobs.live, events, apis.limits_problem
    )
    jobs.queued.load()
    jobs.preparation.prepare()
    log_sweep = LogSweep(
        context.loop,
        jobs_dir,
        context.logs,
        context.records.has,
        lambda error: events.error("fault", error, step="log sweep"),
    )
    shutdown = Shutdown(jobs, events)
    try:
        starting = asyncio.create_task(apis.start())
        requested = asyncio.create_task(shutdown.requested.wait())
        await asyncio.wait([starting, requested], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            events.info("serving", address=config.listen, cgroup_base=str(context.hierarchy.base or ""))
            notify("READY=1")
            await requested
        else:
            starting.cancel()
        notify("STOPPING=1")
        events.info("shutting down", running=len(jobs.live_ids))
        apis.drain()
        all_ended = await _stop_jobs(jobs, config, events)
    finally:
        await apis.close(_API_ENDS_WITHIN_SECONDS)
        watch.close()
        memory_watch.close()
        cgroup_watch.close()
        log_sweep.close()
        shutdown.close()
        jobs.close()
    events.info("ended")
    return all_ended


def _open_records(config: Config, events: EventLog) -> Records:
    """Open the records; log when the disk fails and when it works again."""
    return Records(
        Path(config.state_dir),
        lambda what, error: events.error("fault", error, step=what),
        lambda: events.info("records are stored again"),
        full_sync=config.state.synchronous == "full",
    )


def _watch_memory(config: Config, context: JobContext, jobs: Jobs, events: EventLog) -> MemoryWatch:
    return MemoryWatch(
        context.loop,
        context.hierarchy.jobs if context.hierarchy.base else None,
        config.memory.high_patience,
        lambda: jobs.live,
        lambda job_id: events.info("job near its memory limit", job_id=job_id),
    )


async def _stop_jobs(jobs: Jobs, config: Config, events: EventLog) -> bool:
    try:
        async with asyncio.timeout(config.shutdown_timeout + _KILLED_WITHIN_SECONDS):
            await jobs.shut_down(config.shutdown_timeout)
    except TimeoutError:
        events.error("jobs did not end", job_ids=jobs.live_ids)
        return False
    return True


def _report(hierarchy: Hierarchy, events: EventLog) -> Mapping[str, Removed]:
    """Log missing parts of the cgroups. Remove the cgroups of an earlier server, and return them."""
    if hierarchy.base is None:
        events.warning("no cgroups", reason=hierarchy.no_base)
        return {}
    if hierarchy.unprotected:
        events.warning("server not protected from jobs", reason=hierarchy.unprotected)
    for controller, reason in hierarchy.missing.items():
        events.warning("controller missing", controller=controller, reason=reason)
    removed = sweep(hierarchy.base, is_job_id)
    for name, cgroup in removed.items():
        events.warning("removed an earlier server's cgroup", job_id=name, error=cgroup.error)
    return removed


def _raise_share(hierarchy: Hierarchy, events: EventLog) -> None:
    """Raise the server's share of the CPU on a host without the cpu controller."""
    if hierarchy.reason("cpu") and (why := autogroup.raise_share()):
        events.warning("busy jobs slow the server down", reason=why)


def _job_open_files(config: Config, events: EventLog) -> tuple[int, int]:
    """Return the open file limits of jobs, and log limits that are too low."""
    if why := open_files.too_few(config.max_jobs, open_files.raise_own()):
        events.warning("too few open files", reason=why)
    wanted = (config.defaults.open_files, config.defaults.max_open_files)
    found = open_files.of_jobs(*wanted)
    if found != wanted:
        events.warning("limit on open files of jobs lowered", wanted=wanted, in_force=found)
    return found
