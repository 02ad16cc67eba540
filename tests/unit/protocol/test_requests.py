"""Requests and replies between an API process and the supervisor."""

import asyncio
import dataclasses
import errno

import msgspec
import pytest

from jobworkerd import errors
from jobworkerd.model import JobStatus, LimitsUpdate
from jobworkerd.protocol import client, messages
from jobworkerd.protocol.replies import SupervisorFault
from sample_jobs import FINAL, RUNNING, SPEC
from tests.unit.protocol.socket_pair import Pair, until

SENT_ERRORS = [
    errors.CommandNotStarted("command", "ENOENT", "there is no such file"),
    errors.JobNotFound("b"),
    errors.JobNotRunning("b", "completed"),
    errors.JobNotFinal("b", "running"),
    errors.OffsetOutOfRange("b", 9, 3),
    errors.NoStdin("b"),
    errors.StdinInUse("b"),
    errors.InputOffsetOutOfRange("b", 9, 3),
    errors.LimitUnavailable("max_cpu", "the kernel has none"),
    errors.TooManyJobs("500 jobs are running", "retry later"),
    errors.QuotaExceeded("quota.admin.create_rate", 0.5, "more than 0.5 calls", "call less often", 1.25),
    errors.ServerBusy("max_create_rate", 100.0, "more than 100 calls", 0.01),
    errors.HostExhausted("no process is left"),
    errors.RequestIdReused("r", "b"),
    errors.Unauthenticated("no certificate"),
    errors.CertificateRevoked("CN=a", "1f"),
    errors.RoleRequired("StopJob", "Admin", "Viewer"),
    errors.ReaderStalled("b", 5.5),
    errors.ShuttingDown(),
    errors.SupervisorUnavailable(),
]


async def test_known_certificates_have_no_contents(pair: Pair) -> None:
    assert await pair.client.certificates(()) == messages.Certificates((1, 2, 3), b"ca")
    assert await pair.client.certificates((1, 2, 3)) == messages.Certificates((1, 2, 3))


async def test_replies(pair: Pair) -> None:
    pair.table.held.set()
    listing = messages.ListJobs(page_size=5, statuses=frozenset({JobStatus.RUNNING}), labels={"k": "v"})
    updating = messages.UpdateJob("a", "CN=bob", LimitsUpdate(max_pids=0, cpu_set="0-1"))
    stopping = messages.StopJob(job_id="a", subject="CN=bob", grace_period=0.5)
    deleting = messages.DeleteJob("a", "CN=bob")
    await pair.client.ready()
    assert await pair.client.start_job(messages.StartJob(SPEC)) == RUNNING
    assert await pair.client.get_job("a") == RUNNING
    assert await pair.client.list_jobs(listing) == messages.JobPage((RUNNING,), next_before="a")
    assert await pair.client.update_job(updating) == RUNNING
    assert await pair.client.stop_job(stopping) == FINAL
    await pair.client.delete_job(deleting)
    assert pair.table.calls == [("start", SPEC), ("get", "a", True), listing, updating, stopping, deleting]
    assert pair.events == ["ready"]


async def test_a_slow_reply_does_not_delay_others(pair: Pair) -> None:
    starting = asyncio.create_task(pair.client.start_job(messages.StartJob(SPEC)))
    await until(lambda: pair.table.calls)
    assert await pair.client.get_job("a") == RUNNING
    assert not starting.done()
    pair.table.held.set()
    assert await starting == RUNNING


@pytest.mark.parametrize("error", SENT_ERRORS, ids=lambda error: type(error).__name__)
async def test_an_error_reaches_the_client(pair: Pair, error: errors.JobWorkerError) -> None:
    pair.table.failure = error
    with pytest.raises(type(error)) as caught:
        await pair.client.get_job("b")
    assert dataclasses.asdict(caught.value) == dataclasses.asdict(error)
    assert str(caught.value) == str(error)
    assert pair.faults == []


async def test_a_failed_delete_reaches_the_client(pair: Pair) -> None:
    pair.table.failure = errors.JobNotFinal("a", "running")
    with pytest.raises(errors.JobNotFinal):
        await pair.client.delete_job(messages.DeleteJob("a", "CN=bob"))


def test_all_errors_of_the_supervisor_are_sent() -> None:
    of_api_processes = {errors.InvalidRequest, errors.MessageTooLarge}
    of_gateways = {errors.NodeUnreachable, errors.ClusterUnavailable, errors.ClusterRefused}
    sent = {type(error) for error in SENT_ERRORS}
    assert sent | of_api_processes | of_gateways == set(errors.JobWorkerError.__subclasses__())


async def test_a_bug_of_the_supervisor_is_a_fault(pair: Pair) -> None:
    pair.table.failure = ZeroDivisionError("oops")
    with pytest.raises(SupervisorFault, match="oops"):
        await pair.client.get_job("a")
    assert pair.faults == [("GetJob", pair.table.failure)]
    pair.table.failure = None
    assert await pair.client.get_job("a") == RUNNING


@pytest.mark.parametrize("failure", [OSError(errno.ENFILE, "no file is left", "usage"), MemoryError()])
async def test_an_exhausted_host_is_not_a_fault(pair: Pair, failure: Exception) -> None:
    pair.table.failure = failure
    with pytest.raises(errors.HostExhausted, match=r"no file is left|Cannot allocate memory"):
        await pair.client.get_job("a")
    assert pair.faults == []


async def test_lists_do_not_delay_other_requests(pair: Pair) -> None:
    listing = messages.ListJobs(page_size=5)
    lists = [asyncio.create_task(pair.client.list_jobs(listing)) for _ in range(20)]
    getting = asyncio.create_task(pair.client.get_job("a"))
    await asyncio.wait([*lists, getting])
    served = [call for call in pair.table.calls if call in (listing, ("get", "a", True))]
    assert served.index(("get", "a", True)) == 0
    assert len(served) == 21


async def test_a_final_job_is_kept_until_it_is_removed(pair: Pair) -> None:
    assert not pair.client.keeps_final("a")
    assert await pair.client.get_job("a") == RUNNING
    assert not pair.client.keeps_final("a")
    pair.table.jobs["a"] = FINAL
    assert await pair.client.get_job("a") == FINAL
    assert pair.client.keeps_final("a")
    pair.connection.job_forgotten("a")
    await pair.flushed()
    assert not pair.client.keeps_final("a")


async def test_a_job_removed_right_after_the_reply_is_not_kept(pair: Pair) -> None:
    pair.table.jobs["a"] = FINAL
    asking = asyncio.create_task(pair.client.get_job("a"))
    await until(lambda: pair.table.count("get", "a", True))
    pair.connection.job_forgotten("a")  # both frames are in flight now
    assert await asking == FINAL
    await pair.flushed()
    assert not pair.client.keeps_final("a")


async def test_only_owners_of_a_final_job_are_notified_of_its_removal(
    monkeypatch: pytest.MonkeyPatch, pair: Pair
) -> None:
    sent: list[object] = []
    monkeypatch.setattr(pair.connection, "_send", sent.append)
    pair.connection.job_forgotten("a")
    assert sent == []


async def test_the_number_of_kept_ids_is_bounded(monkeypatch: pytest.MonkeyPatch, pair: Pair) -> None:
    monkeypatch.setattr(client, "_MAX_FINAL", 2)
    for job_id in ("a", "b", "c"):
        pair.table.jobs[job_id] = msgspec.structs.replace(FINAL, id=job_id)
        await pair.client.get_job(job_id)
    assert [pair.client.keeps_final(job_id) for job_id in ("a", "b", "c")] == [False, False, True]
