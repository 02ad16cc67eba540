"""The main function of the supervisor: set up, serve, shut down."""

import asyncio
import gc
import os
import sys
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from msgspec.structs import replace

from jobworkerd import log_sink
from jobworkerd.cgroup.base import BadBase
from jobworkerd.cgroup.group_scan import GroupScan
from jobworkerd.cgroup.hierarchy import Hierarchy, open_hierarchy
from jobworkerd.cgroup.populated import PopulatedWatcher
from jobworkerd.cgroup.sweep import Removed, sweep
from jobworkerd.config import Config
from jobworkerd.job_id import is_job_id
from jobworkerd.keeper.client import HeldEntry, IncompatibleKeeper, KeeperClient
from jobworkerd.keeper.wire import SERVER
from jobworkerd.log_sink import LogSink
from jobworkerd.logs.store import LogStore
from jobworkerd.logs.writer import MOST_BYTES
from jobworkerd.protocol.job_changes import JobChanges
from jobworkerd.records.store import Records
from jobworkerd.scratch import requirements
from jobworkerd.scratch.disk import ScratchDisk
from jobworkerd.spawn import accounts, seccomp_program, writable_paths
from jobworkerd.spawn.private_mounts import HOME
from jobworkerd.spawn.spare_pool import SparePool
from jobworkerd.spawn.spare_setup import Setup
from jobworkerd.spawn.users import UnknownUser, Users
from jobworkerd.spawn.writable_paths import UnusablePath
from jobworkerd.startup import CannotStart
from jobworkerd.supervisor import api_user, autogroup, open_files, server_entry
from jobworkerd.supervisor.api_processes import ApiFailed
from jobworkerd.supervisor.api_user import NoSuchUser
from jobworkerd.supervisor.event_log import EventLog
from jobworkerd.supervisor.holder import HeldJob, join_entries
from jobworkerd.supervisor.isolation_setup import isolation_for
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_spans import JobSpans
from jobworkerd.supervisor.port import PortTaken, ReservedPort, take_over
from jobworkerd.supervisor.predecessor import when_free
from jobworkerd.supervisor.server_entry import ServerEntry
from jobworkerd.supervisor.serving import ENDS_OF_SUPERVISOR, End, Server, serve
from jobworkerd.supervisor.state_dir import locked_state_dir

_CANNOT_START = (CannotStart, NoSuchUser, PortTaken, BadBase, ApiFailed, UnknownUser, UnusablePath)
_UMASK = 0o022
"""Lets the user of the API processes read the logs."""


def run(config: Config, settings: int, keeper: KeeperClient) -> int:
    """Take over from an earlier supervisor, and serve until the end of the server or of this supervisor.

    `settings` is the descriptor of the settings. Returns the exit code of the server.
    """
    sink = log_sink.install()
    events = EventLog(config.logging, sys.stderr)
    sink.on_recovery(events.lines_dropped)
    # Objects of the start-up stay: the collector skips them, and a forked child copies fewer pages.
    gc.freeze()
    os.umask(_UMASK)
    try:
        _check(config)
        held = keeper.take_over(settings)
        end = asyncio.run(_serve(config, held, keeper, events, sink))
    except (*_CANNOT_START, IncompatibleKeeper) as error:
        events.error("cannot start", reason=str(error))
        return 1
    except ConnectionError:  # the keeper has died, or has no need of this supervisor
        return 1
    finally:
        sink.finish()
    return 0 if end is End.JOBS_ENDED else 1


def _check(config: Config) -> None:
    """Check settings that depend on each other.

    Raises:
        CannotStart: they contradict each other.
    """
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
    if why := config.scratch.excess(config.scratch.default):
        raise CannotStart(f"scratch.default: {why}, or raise scratch.max")
    if why := requirements.problem(config):
        raise CannotStart(f"scratch.directory: {why}")
    for name in seccomp_program.unknown(isolation.seccomp_allow):
        raise CannotStart(
            f"isolation.seccomp_allow: unknown system call {name!r}; use names of syscalls(2), such as keyctl"
        )
    if isolation.mount_namespace:
        writable_paths.check(config)


async def _serve(
    config: Config, held: dict[str, HeldEntry], keeper: KeeperClient, events: EventLog, sink: LogSink
) -> End:
    """Serve, and release everything at the end of the server. Another supervisor continues the jobs if this
    one cannot.
    """
    loop = asyncio.get_running_loop()
    sink.watch(loop)
    keeper.attach(loop)
    loop.set_exception_handler(lambda _, context: events.error(context["message"], context.get("exception")))
    continues = SERVER in held
    with ExitStack() as stack:
        try:
            end = await _serve_with(stack, config, held, keeper, events)
        except Exception as error:
            if not continues:
                raise
            known = isinstance(error, _CANNOT_START)
            events.error("cannot start", None if known else error, reason=str(error))
            _leave_jobs(1, sink)
        if end in ENDS_OF_SUPERVISOR:
            _leave_jobs(0 if end is End.HANDED_OVER else 1, sink)
        return end


def _leave_jobs(exit_code: int, sink: LogSink) -> NoReturn:
    """End this process without the cleanup, which would release what the next supervisor needs."""
    sink.finish()
    os._exit(exit_code)


async def _serve_with(
    stack: ExitStack, config: Config, held: dict[str, HeldEntry], keeper: KeeperClient, events: EventLog
) -> End:
    """Serve with everything that the server needs. `stack` releases it."""
    loop = asyncio.get_running_loop()
    earlier = server_entry.from_held(held.pop(SERVER)) if SERVER in held else None
    user = api_user.resolve(config.api.user)
    lock = earlier.state_lock if earlier else None
    state_dir = await when_free(
        lambda: stack.enter_context(locked_state_dir(Path(config.state_dir), user, lock))
    )
    pids = (os.getppid(), os.getpid())
    hierarchy = await when_free(
        lambda: open_hierarchy(config.cgroup_base, pids, earlier.base if earlier else None)
    )
    stack.callback(hierarchy.close)
    uid = user.uid if user else None
    port = await when_free(lambda: take_over(earlier.port if earlier else None, config.listen, uid))
    stack.callback(port.close)
    metrics_port = await _reserve_metrics_port(config, uid, earlier, stack)
    entry = ServerEntry(state_dir.lock, port, metrics_port, hierarchy.occupied)
    await entry.hold(keeper)
    removed = _report(hierarchy, held, events)
    _raise_share(hierarchy, events)
    watcher = PopulatedWatcher(loop)
    stack.callback(watcher.close)
    users = Users(config.isolation)
    widest = accounts.entries(users.widest, HOME.decode(), users.widest)
    isolation_setup = isolation_for(config, widest)
    setup = Setup(_job_open_files(config, events), os.nice(0), isolation_setup)
    spare_pool = SparePool(setup, keeper)
    stack.callback(spare_pool.close)
    records = _open_records(config, events)
    stack.callback(records.close)
    logs = LogStore(
        state_dir.jobs,
        config.log.max_bytes,
        config.log.max_total_bytes,
        lambda error: events.error("log", error),
        records.ended_logs,
    )
    stack.callback(logs.close)
    scratch = await _open_scratch(config, events, stack)
    spans = JobSpans(loop, events)
    stack.callback(spans.close)
    context = JobContext(
        loop=loop,
        hierarchy=hierarchy,
        watcher=watcher,
        group_scan=GroupScan(),
        records=records,
        logs=logs,
        io_paths=[Path(path) for path in (*config.io.devices, config.scratch.directory) if path],
        parent=keeper,
        holder=keeper,
        spare_pool=spare_pool,
        users=users,
        isolation=config.isolation,
        scratch=scratch,
        read_buffer=memoryview(bytearray(MOST_BYTES)),
        changes=JobChanges(),
        spans=spans,
        on_fault=lambda what, error: events.error("fault", error, step=what),
        warn=events.warning,
    )
    earlier_jobs = join_entries(keeper, {key: _held_job(entry) for key, entry in held.items()})
    if metrics_port:
        config = replace(config, metrics=replace(config.metrics, listen=metrics_port.address))
    server = Server(
        replace(config, listen=port.address), user, state_dir.jobs, keeper, events, earlier_jobs, removed
    )
    end = await serve(server, context)
    if end in ENDS_OF_SUPERVISOR:
        records.close()
    return end


def _held_job(entry: HeldEntry) -> HeldJob:
    state, *descriptors = entry.descriptors
    held = HeldJob(entry.state(), descriptors, entry.statuses)
    os.close(state)
    return held


async def _reserve_metrics_port(
    config: Config, uid: int | None, earlier: ServerEntry | None, stack: ExitStack
) -> ReservedPort | None:
    """Reserve the port of the Prometheus endpoint, if there is one. `stack` releases it."""
    before = earlier.metrics_port if earlier else None
    if not config.metrics.listen:
        if before:
            before.close()
        return None
    port = await when_free(lambda: take_over(before, config.metrics.listen, uid))
    stack.callback(port.close)
    return port


def _open_records(config: Config, events: EventLog) -> Records:
    """Open the records; log when the disk fails and when it works again."""
    return Records(
        Path(config.state_dir),
        lambda what, error: events.error("fault", error, step=what),
        lambda: events.info("records are stored again"),
        full_sync=config.state.synchronous == "full",
    )


async def _open_scratch(config: Config, events: EventLog, stack: ExitStack) -> ScratchDisk | None:
    """Open the private directories of jobs on disk; return None if they are in memory."""
    if not (directory := config.scratch.directory):
        return None
    disk = await when_free(
        lambda: ScratchDisk(directory, lambda error: events.error("fault", error, step="scratch"))
    )
    stack.callback(disk.close)
    return disk


def _report(hierarchy: Hierarchy, held: Collection[str], events: EventLog) -> Mapping[str, Removed]:
    """Log missing parts of the cgroups. Remove the cgroups of an earlier server except those of the jobs in
    `held`, and return them.
    """
    if hierarchy.base is None:
        events.warning("no cgroups", reason=hierarchy.no_base)
        return {}
    if hierarchy.unprotected:
        events.warning("server not protected from jobs", reason=hierarchy.unprotected)
    for controller, reason in hierarchy.missing.items():
        events.warning("controller missing", controller=controller, reason=reason)
    removed = sweep(hierarchy.base, lambda name: is_job_id(name) and name not in held)
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
