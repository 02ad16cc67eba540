"""Ends the jobs of an earlier server that died: no process of them is left, and their result is unknown."""

import time
from collections.abc import Collection, Mapping
from pathlib import Path

from msgspec.structs import replace

from jobworkerd.cgroup.sweep import Removed, sweep_former_base
from jobworkerd.model import Job, JobStatus, Termination, TerminationReason, transition
from jobworkerd.supervisor.boot import boot_id
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_events import JobEvents

_BOOT_ID = "boot_id"
_CGROUP_BASE = "cgroup_base"


def end_lost_jobs(
    context: JobContext, events: JobEvents, removed: Mapping[str, Removed], adopted: Collection[str] = ()
) -> None:
    """Write final records, with the status LOST, of all jobs that this server does not continue.

    `removed` has the cgroups of an earlier server, whose processes have been killed. `adopted` has the ids
    of the jobs that continue.

    Raises:
        OSError: the records cannot be read.
    """
    records = context.records
    current = boot_id()
    cause = _cause(records.meta(_BOOT_ID), current)
    records.set_meta(_BOOT_ID, current)
    unfinished = [job for job in records.unfinished() if job.id not in adopted]
    cgroups = {**removed, **_sweep_former_base(context, {job.id for job in unfinished})}
    for job in unfinished:
        lost = _lost(job, context, cause, cgroups.get(job.id))
        records.update_later(lost)
        events.lost(lost)
        context.counters.ended(lost)
        context.spans.ended(lost)


def _sweep_former_base(context: JobContext, job_ids: Collection[str]) -> Mapping[str, Removed]:
    """Remove the cgroups of lost jobs in the base of an earlier start with another `cgroup_base`.

    Store the base of this start. The first record of a job is committed later, so no job runs before.
    """
    base, former = str(context.hierarchy.base or ""), context.records.meta(_CGROUP_BASE)
    context.records.set_meta(_CGROUP_BASE, base)
    if former in {"", base}:
        return {}
    removed = sweep_former_base(Path(former), job_ids)
    for job_id, cgroup in removed.items():
        context.warn("removed an earlier server's cgroup", job_id=job_id, error=cgroup.error)
    return removed


def _cause(earlier_boot: str, current_boot: str) -> str:
    if earlier_boot and earlier_boot != current_boot:
        return "the host restarted"
    return "the server was killed"


def _lost(job: Job, context: JobContext, cause: str, cgroup: Removed | None) -> Job:
    """Return the final record, with the usage of the cgroup or else the last known usage."""
    usage = replace(cgroup.usage, wall_usec=job.usage.wall_usec) if cgroup else job.usage
    when = "ran" if job.status is JobStatus.RUNNING else "started"
    termination = Termination(
        reason=TerminationReason.LOST,
        message=f"lost: {cause} while the job {when}, so its result is unknown",
        leftovers_killed=cgroup is not None,
        oom_killed=bool(usage.oom_kill_count),
    )
    return transition(
        job,
        JobStatus.LOST,
        end_time_ns=max(time.time_ns(), job.start_time_ns or job.create_time_ns),
        pid=0,
        termination=termination,
        kill_pending=False,
        usage=replace(usage, memory_current_bytes=None),
        log_size=_log_size(job, context),
    )


def _log_size(job: Job, context: JobContext) -> int:
    """End the log, and return its size with the output that the earlier server did not record."""
    try:
        return context.logs.end_abandoned(job.id)
    except OSError as error:
        context.on_fault("log", error)
        return job.log_size
