"""Checks every promise of the cluster after the faults."""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from time import monotonic, time

import grpc

from jobworker.v1 import job_pb2, job_service_pb2
from tests.cluster.faults.callers import ANSWER_SECONDS, Callers, Stub
from tests.cluster.faults.ledger import FINAL, Absence, Entry, Ledger
from tests.cluster.faults.plan import Execution, executions
from tests.cluster.hosts import CPU, MAX_JOBS, MEMORY

GONE_SECONDS = 30.0
"""The processes of final jobs must have ended this long after the links are healed."""


_ABSENCE_SECONDS = 60.0
"""A job is lost or evicted within this time after the begin of the absence of its host."""

_MARGIN = 5.0
"""The record of a job that ended with the power of its host can have an earlier time."""

_LONG_ABSENCE_SECONDS = 10.0
"""Absences that are shorter in total have no effect on jobs: a node is given up after 16 to 25 s."""


class Oracle:
    """The checks of one run. `nodes` are the hosts' own servers, by the name of the node."""

    def __init__(self, ledger: Ledger, callers: Callers, nodes: dict[str, Stub], runs: Path) -> None:
        self._ledger = ledger
        self._callers = callers
        self._nodes = nodes
        self._runs = runs

    async def watch_capacity(self) -> None:
        """Check until cancelled that no host runs more than its capacity."""
        while True:
            await self.check_capacity()
            await asyncio.sleep(1)

    async def check_capacity(self) -> None:
        """Check that no host runs more than its capacity now."""
        await asyncio.gather(*(self._check_capacity(name) for name in self._nodes))

    async def wait_for_all(self, seconds: float = 3 * ANSWER_SECONDS) -> None:
        """Wait until all jobs are final."""
        end = monotonic() + seconds
        while (unfinished := self._ledger.unfinished()) and monotonic() < end:
            await asyncio.gather(*(self._callers.get(entry) for entry in unfinished[:20]))
            await asyncio.sleep(0.5)
        for entry in self._ledger.unfinished():
            self._ledger.violation("no final state", entry)

    async def check_lists(self, gateways: Sequence[Stub]) -> None:
        """Check that each gateway lists all jobs with the same final states."""
        for number in range(len(gateways)):
            if not await self._callers.check_list(number):
                self._ledger.violation(f"gateway {number} gives no list")

    def check_processes(self) -> None:
        """Check that no process of a job is alive that has been final for long."""
        latest = monotonic() - GONE_SECONDS
        alive = _request_ids_alive(self._ledger.seed)
        for entry in self._ledger.jobs.values():
            if entry.final is None or entry.final_at > latest:
                continue
            if entry.plan.request_id in alive:
                self._ledger.violation("a process of a final job is alive", entry, entry.final.node)
            if _is_lost(entry.final) and _would_run(entry, entry.final):
                self._ledger.counts["lost jobs that would still run"] += 1

    def check_executions(self) -> None:
        """Check that no job was executed twice, and that attempts with `retry_on_lost` did not overlap."""
        found = executions(self._runs)
        for entry in self._ledger.jobs.values():
            times = found.get(entry.plan.request_id, [])
            self._ledger.counts["executions"] += len(times)
            self._ledger.counts["executions after a lost host"] += max(len(times) - 1, 0)
            if len(times) > 1 and not entry.plan.retries:
                self._ledger.violation("executed twice", entry, times)
            if _overlap(times):
                self._ledger.violation("two executions at the same time", entry, times)
            if not times and entry.final and entry.final.status == job_pb2.JOB_STATUS_COMPLETED:
                self._ledger.violation("completed without an execution", entry)

    def check_losses(self) -> None:
        """Check that jobs are lost or evicted only with a host that was away for long, or had no power."""
        for entry in self._ledger.jobs.values():
            job = entry.final
            if job and _is_lost(job) and not _was_away(self._ledger.absences, job):
                self._ledger.violation("lost without a reason", entry, str(job.termination.message))

    def check_records(self) -> None:
        """Check each final record against the plan of the job."""
        for entry in self._ledger.jobs.values():
            if entry.final and not _is_true(entry, entry.final):
                self._ledger.violation("a wrong record", entry, str(entry.final)[:600].replace("\n", " "))

    async def check_logs(self) -> None:
        """Compare the output that followers received with the logs of the hosts."""
        limit = asyncio.Semaphore(8)

        async def check(entry: Entry) -> None:
            async with limit:
                await self._check_log(entry)

        await asyncio.gather(*(check(entry) for entry in self._ledger.jobs.values()))

    async def _check_log(self, entry: Entry) -> None:
        job = entry.final
        if job is None or not job.HasField("start_time"):
            if entry.streamed:
                self._ledger.violation("a job without a start has output", entry)
            return
        log = await self._read(self._nodes[job.node], entry)
        if log is None:
            return
        self._ledger.counts["logs compared"] += 1
        self._ledger.counts["bytes"] += len(log)
        if not entry.plan.output.startswith(log):
            self._ledger.violation("a wrong log", entry, log[-200:])
        complete = job.status != job_pb2.JOB_STATUS_LOST
        if job.termination.reason == job_pb2.TERMINATION_REASON_EXITED and log != entry.plan.output:
            self._ledger.violation("a log is not complete", entry, f"{len(log)} bytes")
        if entry.streamed is not None and not entry.plan.retries:
            self._ledger.counts["streams compared"] += 1
            if entry.streamed != log if complete else not log.startswith(entry.streamed):
                sizes = f"{len(entry.streamed)} bytes streamed, {len(log)} in the log"
                self._ledger.violation("a stream is not the log", entry, sizes)

    async def _read(self, node: Stub, entry: Entry) -> bytes | None:
        """Return the log of a job on its host; None if the host does not have the job."""
        log = bytearray()
        request = job_service_pb2.GetJobsStreamRequest(id=entry.job_id)
        try:
            async for message in node.GetJobsStream(request, timeout=60):
                log += message.payload
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                self._ledger.violation("a host does not give its log", entry, error.details())
            elif entry.final and entry.final.status != job_pb2.JOB_STATUS_LOST:
                self._ledger.violation("a host has lost a log", entry, error.details())
            return None
        return bytes(log)

    async def _check_capacity(self, name: str) -> None:
        request = job_service_pb2.ListJobsRequest(page_size=1000, statuses=[job_pb2.JOB_STATUS_RUNNING])
        try:
            jobs = (await self._nodes[name].ListJobs(request, timeout=5)).jobs
        except grpc.aio.AioRpcError:
            return  # the host is cut off, or its API process is dead
        self._ledger.counts["looks at the use of a host"] += 1
        sums = Counter(cpu=sum(job.max_cpu for job in jobs), memory=sum(job.max_memory for job in jobs))
        if sums["cpu"] > CPU or sums["memory"] > MEMORY or len(jobs) > MAX_JOBS:
            self._ledger.violation(f"{name} runs more than its capacity", None, f"{len(jobs)} jobs, {sums}")


def _request_ids_alive(seed: int) -> set[str]:
    """Return the request ids of jobs whose processes are alive."""
    pattern = re.compile(rf"faults-{seed}-\d+".encode())
    found: set[str] = set()
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.update(each.decode() for each in pattern.findall(cmdline.read_bytes()))
        except OSError:
            continue  # the process has ended
    return found


def _overlap(times: list[Execution]) -> bool:
    return any(before.last > after.first for before, after in pairwise(times))


def _is_true(entry: Entry, job: job_pb2.Job) -> bool:
    """Return whether a record can be the one of this job.

    A job without `retry_on_lost` can be lost with its host, and one that a client has stopped does not start
    again. The control plane evicts it if the host returns just before that.
    """
    plan, reason = entry.plan, job.termination.reason
    if job.status not in FINAL or not job.HasField("end_time"):
        return False
    if reason == job_pb2.TERMINATION_REASON_EXITED:
        status = job_pb2.JOB_STATUS_FAILED if plan.exit_code else job_pb2.JOB_STATUS_COMPLETED
        return job.status == status and job.exit_code == plan.exit_code and bool(job.node)
    if reason == job_pb2.TERMINATION_REASON_STOPPED:
        return job.status == job_pb2.JOB_STATUS_STOPPED and plan.stopped
    return _is_lost(job) and (plan.stopped or not plan.retries)


def _is_lost(job: job_pb2.Job) -> bool:
    evicted = job.termination.reason == job_pb2.TERMINATION_REASON_EVICTED
    return job.status == job_pb2.JOB_STATUS_LOST or (job.status == job_pb2.JOB_STATUS_STOPPED and evicted)


def _would_run(entry: Entry, job: job_pb2.Job) -> bool:
    """Return whether the command of a job would not have ended by itself yet."""
    started = job.HasField("start_time")
    return started and job.start_time.ToNanoseconds() / 1e9 + entry.plan.seconds > time()


def _was_away(absences: Sequence[Absence], job: job_pb2.Job) -> bool:
    """Return whether the host of a job had no power, or was cut off for long in total, before its end.

    The absence can begin before the job: a host gets jobs until the cluster misses it.
    """
    end = job.end_time.ToNanoseconds() / 1e9
    begin = end - _ABSENCE_SECONDS
    found = [
        each for each in absences if each.host == job.node and each.end > begin and each.begin < end + _MARGIN
    ]
    cut = sum(each.end - each.begin for each in found)
    return cut >= _LONG_ABSENCE_SECONDS or not all(each.had_power for each in found)
