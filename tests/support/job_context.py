"""A `JobContext` and jobs for unit tests that start real processes."""

import asyncio
import io
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from children import reap_all
from held_jobs import HeldJobs
from own_children import OwnChildren

from jobworkerd.cgroup.group_scan import GroupScan
from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.cgroup.populated import PopulatedWatcher
from jobworkerd.config import IsolationConfig, LoggingConfig
from jobworkerd.logs.store import LogStore
from jobworkerd.model import Job, JobSpec, JobStatus, Limits, LimitsPolicy
from jobworkerd.protocol.job_changes import JobChanges
from jobworkerd.records.store import Records
from jobworkerd.scratch.disk import ScratchDisk
from jobworkerd.spawn.isolation import Isolation
from jobworkerd.spawn.spare_pool import SparePool
from jobworkerd.spawn.spare_setup import Setup
from jobworkerd.spawn.users import Users
from jobworkerd.supervisor.event_log import EventLog
from jobworkerd.supervisor.holder import Holder
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_spans import JobSpans

NO_CGROUPS = "no cgroups here"
JOB_ID = "01981c6d-0000-7000-8000-000000000000"

JOB_ID = "0198a000-0000-7000-8000-000000000000"


def spare_setup(*namespaces: str) -> Setup:
    """Return the setup of spare processes with some namespaces and no other isolation."""
    return Setup((256, 256), 0, Isolation(namespaces=namespaces, no_new_privileges=False, nice=0))


@contextmanager
def job_context(
    jobs_dir: Path,
    hierarchy: Hierarchy,
    setup: Setup,
    isolation: IsolationConfig,
    *,
    warn: Callable[..., None] = lambda _event, **_fields: None,
    on_fault: Callable[[str, BaseException], None] = lambda _what, _error: None,
    state_dir: Path | None = None,
    holder: Holder | None = None,
    scratch: ScratchDisk | None = None,
) -> Iterator[JobContext]:
    """Yield the context of jobs in the running loop, with small logs."""
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        watcher, children = PopulatedWatcher(loop), OwnChildren(loop)
        stack.callback(reap_all, children)
        spare_pool = SparePool(setup, children)
        records = Records(state_dir or Path(stack.enter_context(TemporaryDirectory())), on_fault)
        logs = LogStore(jobs_dir, 1 << 20, 1 << 20, lambda _: None, records.ended_logs)
        for each in (watcher, spare_pool, records, logs):
            stack.callback(each.close)
        yield JobContext(
            loop=loop,
            hierarchy=hierarchy,
            watcher=watcher,
            group_scan=GroupScan(),
            records=records,
            logs=logs,
            io_paths=[],
            parent=children,
            holder=holder or HeldJobs(),
            spare_pool=spare_pool,
            users=Users(isolation),
            isolation=isolation,
            scratch=scratch,
            read_buffer=memoryview(bytearray(4096)),
            changes=JobChanges(),
            spans=JobSpans(loop, EventLog(LoggingConfig(), io.StringIO())),
            warn=warn,
            on_fault=on_fault,
        )


def new_job(*argv: str, job_id: str = JOB_ID, policy: LimitsPolicy = LimitsPolicy.BEST_EFFORT) -> Job:
    """Return the record of a job that has not started."""
    spec = JobSpec(
        command=argv[0],
        args=argv[1:],
        limits=Limits(max_cpu=100, max_memory=64, max_io_bps=0, max_pids=0),
        limits_policy=policy,
        stop_signal=15,
        stop_grace_period=1.0,
        owner="CN=alice",
    )
    return Job(id=job_id, spec=spec, status=JobStatus.INITIALIZING, create_time_ns=time.time_ns())


async def commit_nothing(job: Job) -> None:
    """Take the place of the records in tests of one job."""
