"""Jobs with given ids: idempotency, capacity, the order of ids, and fencing."""

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from jobworkerd.errors import CommandNotStarted, JobNotFound, QuotaExceeded, RequestIdReused, TooManyJobs
from jobworkerd.job_id import JobIds, key_of, time_of
from jobworkerd.model import Job, JobStatus, TerminationReason
from jobworkerd.protocol.messages import Done, ListJobs, OneJob
from jobworkerd.protocol.node_messages import EvictJob, GetHost, Host, ListRuns, RenewLease, Run, RunJob, Runs
from jobworkerd.quotas import AdminQuota, QuotaConfig
from jobworkerd.supervisor import creation
from tests.unit.supervisor.job_table import CONFIG, ONE_JOB, Server, command, running_table

HOUR_NS = 3_600 * 10**9


def new_id(offset_ns: int = 0) -> str:
    """Return an id that another program creates at a time relative to now."""
    return JobIds().new(time.time_ns() + offset_ns)


def request(*argv: str, job_id: str = "", **spec: Any) -> RunJob:
    given = {"owner": "ann", "request_id": "attempt-1", "node": "n1", "attempt": 1, **spec}
    return RunJob(job_id or new_id(), command(*argv, **given))


async def run(server: Server, wanted: RunJob) -> Job:
    reply = await server.cluster.handle(wanted)
    assert isinstance(reply, OneJob)
    return reply.job


async def evict(server: Server, job_id: str) -> Job:
    reply = await server.cluster.handle(EvictJob(job_id, "drained", "CN=gateway"))
    assert isinstance(reply, OneJob)
    return reply.job


async def runs(server: Server) -> tuple[Run, ...]:
    reply = await server.cluster.handle(ListRuns())
    assert isinstance(reply, Runs)
    return reply.runs


async def test_concurrent_requests_of_one_attempt_start_one_job(tmp_path: Path) -> None:
    async with running_table(tmp_path) as server:
        wanted = request("sleep", "1000")
        first, second = await asyncio.gather(run(server, wanted), run(server, wanted))
        assert (first.id, first.pid) == (second.id, second.pid) == (wanted.job_id, first.pid)
        assert first.create_time_ns == time_of(wanted.job_id)
        assert await runs(server) == (Run(first.id, "attempt-1", "ann"),)
        # The defaults of the host can change between two requests.
        changed = replace(wanted, spec=replace(wanted.spec, stop_grace_period=1.5))
        assert (await run(server, changed)).pid == first.pid


@pytest.mark.parametrize("other", [{"request_id": "attempt-2"}, {"owner": "bob"}])
async def test_an_id_of_another_attempt_is_refused(tmp_path: Path, other: dict[str, str]) -> None:
    async with running_table(tmp_path) as server:
        first = await run(server, request("sleep", "1000"))
        with pytest.raises(RequestIdReused, match=first.id):
            await run(server, request("sleep", "1000", job_id=first.id, **other))


async def test_a_request_id_of_another_job_is_refused(tmp_path: Path) -> None:
    async with running_table(tmp_path) as server:
        own = await server.jobs.start(command("sleep", "1000", owner="ann", request_id="attempt-1"))
        with pytest.raises(RequestIdReused, match=own.id):
            await run(server, request("true"))


async def test_a_text_that_is_no_id_is_refused(tmp_path: Path) -> None:
    async with running_table(tmp_path) as server:
        with pytest.raises(JobNotFound):
            await run(server, request("true", job_id="../../etc"))


@pytest.mark.parametrize("ended", [True, False])
async def test_two_jobs_cannot_have_one_key(tmp_path: Path, ended: bool) -> None:  # noqa: FBT001
    async with running_table(tmp_path) as server:
        first = await run(server, request("sleep", "1000"))
        if ended:
            await evict(server, first.id)
        twin = first.id[:-1] + ("0" if first.id[-1] != "0" else "1")
        assert key_of(twin) == key_of(first.id)
        with pytest.raises(CommandNotStarted, match=f"{first.id} of this host was created at the same time"):
            await run(server, request("true", job_id=twin, request_id="attempt-2"))
        assert server.jobs.get(first.id).status.final == ended


async def test_ids_of_the_host_skip_given_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = time.time_ns()
    monkeypatch.setattr(creation, "time", SimpleNamespace(time_ns=lambda: now_ns))
    async with running_table(tmp_path) as server:
        last = key_of((await server.run("true")).id)
        given = [JobIds(last + ahead).new(0) for ahead in (0, 10**9)]
        for number, each in enumerate(given):
            await run(server, request("true", job_id=each, request_id=str(number)))
        assert key_of((await server.run("true")).id) == last + 2
    async with running_table(tmp_path) as server:
        assert (await server.run("true")).id > given[-1]


async def test_lists_have_the_order_of_ids(tmp_path: Path) -> None:
    async with running_table(tmp_path) as server:
        newest = await server.run("true")
        old = await run(server, request("true", job_id=new_id(-HOUR_NS)))
        older = await run(server, request("true", job_id=new_id(-2 * HOUR_NS), request_id="b"))
        ids = [job.id for job in server.jobs.list(ListJobs(page_size=10)).jobs]
        assert ids == [newest.id, old.id, older.id]
        page = server.jobs.list(ListJobs(page_size=1, before=newest.id))
        assert ([job.id for job in page.jobs], page.next_before) == ([old.id], old.id)
        since = server.jobs.list(ListJobs(page_size=10, created_after_ns=old.create_time_ns))
        assert [job.id for job in since.jobs] == [newest.id, old.id]
        until = server.jobs.list(ListJobs(page_size=10, created_before_ns=old.create_time_ns))
        assert [job.id for job in until.jobs] == [older.id]


async def test_the_bounds_of_a_client_do_not_apply_and_do_not_count(tmp_path: Path) -> None:
    config = replace(CONFIG, quota=QuotaConfig(admin=AdminQuota(running_jobs=1)))
    async with running_table(tmp_path, config) as server:
        for number in range(2):
            await run(server, request("sleep", "1000", request_id=str(number)))
        own = await server.jobs.start(command("sleep", "1000", owner="ann"))
        assert own.status is JobStatus.RUNNING
        with pytest.raises(QuotaExceeded):
            await server.jobs.start(command("true", owner="ann"))
        await run(server, request("sleep", "1000", request_id="third"))


async def test_a_job_without_room_does_not_wait(tmp_path: Path) -> None:
    async with running_table(tmp_path, ONE_JOB) as server:
        first = await run(server, request("sleep", "1000"))
        wanted = request("sleep", "1000", request_id="b", queue_timeout=60.0)
        with pytest.raises(TooManyJobs, match="max_jobs"):
            await run(server, wanted)
        await evict(server, first.id)
        assert (await run(server, wanted)).status is JobStatus.RUNNING


async def test_a_failed_start_can_be_repeated(tmp_path: Path) -> None:
    async with running_table(tmp_path) as server:
        wanted = request("/nonexistent")
        with pytest.raises(CommandNotStarted):
            await run(server, wanted)
        again = request("true", job_id=wanted.job_id, request_id="attempt-2")
        job = await run(server, again)
        assert (job.id, job.spec.request_id) == (wanted.job_id, "attempt-2")
        assert (await run(server, again)).id == job.id


async def test_an_evicted_job_is_stopped_and_jobs_of_the_host_are_not_evicted(tmp_path: Path) -> None:
    async with running_table(tmp_path) as server:
        job = await run(server, request("sleep", "1000"))
        final = await evict(server, job.id)
        assert final.termination
        assert (final.status, final.termination.reason) == (JobStatus.STOPPED, TerminationReason.EVICTED)
        assert final.termination.message == "drained; ended by SIGTERM"
        assert await evict(server, job.id) == final
        assert await runs(server) == ()
        own = await server.jobs.start(command("sleep", "1000"))
        with pytest.raises(JobNotFound):
            await evict(server, own.id)
        assert server.jobs.get(own.id).status is JobStatus.RUNNING


async def test_only_fenced_jobs_need_the_lease(tmp_path: Path) -> None:
    async with running_table(tmp_path) as server:
        fenced = request("sleep", "1000", fenced=True)
        with pytest.raises(TooManyJobs, match="no lease"):
            await run(server, fenced)
        other = await run(server, request("sleep", "1000", request_id="b"))
        assert await server.cluster.handle(RenewLease(3_600)) == Done()
        job = await run(server, fenced)
        await server.cluster.handle(RenewLease(-1))
        final = await server.ended(job.id)
        assert final.termination
        assert final.termination.reason is TerminationReason.EVICTED
        assert final.termination.message == "the host lost its lease in the cluster; ended by SIGKILL"
        assert server.jobs.get(other.id).status is JobStatus.RUNNING
        assert f'"killed": ["{job.id}"]' in server.log.getvalue().replace(":[", ": [")


async def test_a_host_without_cgroups_reports_that_it_cannot_limit_jobs(tmp_path: Path) -> None:
    async with running_table(tmp_path) as server:
        reply = await server.cluster.handle(GetHost())
        assert isinstance(reply, Host)
        assert reply.limits_problem == server.context.hierarchy.no_base
