"""A database with many records of final jobs, for tests and benchmarks of long histories."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from jobworkerd.job_id import JobIds
from jobworkerd.model import (
    AppliedIsolation,
    AppliedLimit,
    Job,
    JobSpec,
    JobStatus,
    Limits,
    LimitsPolicy,
    Termination,
    TerminationReason,
    Usage,
)
from jobworkerd.records.database import open_database, transaction
from jobworkerd.records.writes import Save

OWNERS = 10
LABELS = 1_000
"""Different values of the label `batch`, each of as many jobs."""
FAILED_SHARE = 100
"""One of this many jobs failed."""
INTERVAL_NS = 10**9
_BATCH = 20_000


def fill(state_dir: Path, count: int) -> None:
    """Write a database with records of final jobs, one per second until now."""
    state_dir.mkdir(parents=True)
    start = time.time_ns() - count * INTERVAL_NS
    connection = open_database(state_dir)
    for number in range(0, count, _BATCH):
        with transaction(connection):
            for job in _jobs(start, number, min(number + _BATCH, count)):
                Save(job).execute(connection)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _jobs(start: int, first: int, end: int) -> Iterator[Job]:
    """Return jobs as `/bin/true` leaves them."""
    limits = Limits(max_cpu=100, max_memory=64, max_io_bps=0, max_pids=1024)
    spec = JobSpec(
        command="/bin/true",
        args=("--verbose", "argument"),
        limits=limits,
        limits_policy=LimitsPolicy.BEST_EFFORT,
        working_directory="/home/job",
        stop_signal=15,
        stop_grace_period=10.0,
        owner="",
    )
    limit = AppliedLimit(limit="max_cpu", in_force=True, file="cpu.max", value="100000 100000")
    part = AppliedIsolation(part="mount_namespace", in_force=True)
    figures = dict.fromkeys(Usage.__struct_fields__, 12_345)
    job = Job(
        id="",
        spec=spec,
        status=JobStatus.COMPLETED,
        create_time_ns=0,
        exit_code=0,
        termination=Termination(reason=TerminationReason.EXITED, message="exited with code 0"),
        applied_limits=(limit,) * 5,
        applied_isolation=(part,) * 7,
        usage=Usage(**figures),
    )
    for number in range(first, end):
        created = start + number * INTERVAL_NS
        failed = number % FAILED_SHARE == 0
        owner = f"CN=client {number % OWNERS},OU=Admin"
        yield msgspec.structs.replace(
            job,
            id=JobIds().new(created),
            spec=msgspec.structs.replace(spec, owner=owner, labels={"batch": f"{number % LABELS}"}),
            status=JobStatus.FAILED if failed else JobStatus.COMPLETED,
            exit_code=int(failed),
            create_time_ns=created,
            start_time_ns=created,
            end_time_ns=created + INTERVAL_NS,
        )
