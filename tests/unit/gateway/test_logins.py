"""Delegates act for users at each gateway of a cluster, whichever gateway the users have called."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest
from api_server import Authority, Logged, eventually, refusal
from cryptography import x509
from grpc import aio

from jobworker.v1 import (
    cluster_service_pb2,
    cluster_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    job_watch_pb2,
    login_service_pb2,
    login_service_pb2_grpc,
)
from jobworker_gateway import archive_logins
from jobworker_gateway.archive.sqlite import SqliteArchive
from jobworker_gateway.archive_logins import ArchiveLogins, ArchiveSessions
from jobworkerd.certs import revocation_list
from jobworkerd.certs.authority import load_pair
from jobworkerd.errors import ClusterUnavailable, Unauthenticated
from jobworkerd.quotas import QuotaConfig, ViewerQuota
from jobworkerd.rpc_server.identity import session_token
from jobworkerd.rpc_server.identity.session_token import METADATA_KEY, DelegatedSession
from running_gateway import Gateway, running_gateway
from server_fixtures import logged

__all__ = ["logged"]

UNAUTHENTICATED = (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
ROLE_REQUIRED = (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
REVOKED = (grpc.StatusCode.PERMISSION_DENIED, "CERTIFICATE_REVOKED")
INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
QUOTA = (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
NO_ARCHIVE = (grpc.StatusCode.UNAVAILABLE, "CLUSTER_UNAVAILABLE")

Metadata = tuple[tuple[str, bytes], ...]

_DEFAULT = QuotaConfig()


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The authority of the clients and of the gateways."""
    return Authority()


class Gateways:
    """The gateways of a cluster, with one archive."""

    def __init__(self, directory: Path, authority: Authority, logged: Logged, stack: AsyncExitStack) -> None:
        self._directory = directory
        self._authority = authority
        self._logged = logged
        self._stack = stack
        self._count = 0

    async def start(self, quota: QuotaConfig = _DEFAULT) -> Gateway:
        """Start one more gateway."""
        self._count += 1
        own = self._directory / str(self._count)
        own.mkdir()
        archive = self._directory / "archive.sqlite"
        running = running_gateway(own, self._authority, self._logged, archive_file=archive, quota=quota)
        return await self._stack.enter_async_context(running)


@pytest.fixture
async def gateways(tmp_path: Path, authority: Authority, logged: Logged) -> AsyncIterator[Gateways]:
    """A cluster whose gateways a test starts."""
    async with AsyncExitStack() as stack:
        yield Gateways(tmp_path, authority, logged, stack)


@pytest.fixture
async def gateway(gateways: Gateways) -> Gateway:
    """A running gateway."""
    return await gateways.start()


@asynccontextmanager
async def dashboard(gateway: Gateway, name: str = "dashboard") -> AsyncIterator[aio.Channel]:
    """Connect as a delegate."""
    async with gateway.client("Delegate", name) as channel:
        yield channel


async def created(gateway: Gateway, unit: str = "Admin") -> str:
    """Create a one-time token as a user."""
    async with gateway.client(unit) as channel:
        stub = login_service_pb2_grpc.LoginServiceStub(channel)
        return (await stub.CreateLogin(login_service_pb2.CreateLoginRequest())).token


async def redeem(channel: aio.Channel, token: str) -> login_service_pb2.RedeemLoginResponse:
    stub = login_service_pb2_grpc.LoginServiceStub(channel)
    return await stub.RedeemLogin(login_service_pb2.RedeemLoginRequest(token=token))


async def logged_in(gateway: Gateway, unit: str = "Admin") -> bytes:
    """Log a user in to the dashboard, and return the session token."""
    async with dashboard(gateway) as channel:
        return (await redeem(channel, await created(gateway, unit))).session_token


def session(token: bytes) -> Metadata:
    return ((METADATA_KEY, token),)


async def list_jobs(channel: aio.Channel, metadata: Metadata) -> None:
    stub = job_service_pb2_grpc.JobServiceStub(channel)
    await stub.ListJobs(job_service_pb2.ListJobsRequest(), metadata=metadata)


async def create_job(channel: aio.Channel, metadata: Metadata) -> str:
    stub = job_service_pb2_grpc.JobServiceStub(channel)
    request = job_service_pb2.CreateJobRequest(command="true")
    return (await stub.CreateJob(request, metadata=metadata)).job.owner


async def assert_refused(call: Awaitable[object], code: grpc.StatusCode, reason: str) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    refused = refusal(caught.value)
    assert (refused.code, refused.reason) == (code, reason)


async def test_one_gateway_redeems_once_what_another_one_created(gateways: Gateways) -> None:
    first, second = await gateways.start(), await gateways.start()
    assert first.address != second.address
    token = await created(first)
    async with dashboard(first) as one, dashboard(second) as two:
        answer = await redeem(two, token)
        assert answer.identity.subject.startswith("CN=alice,OU=Admin")
        for channel in (one, two):
            await assert_refused(redeem(channel, token), *INVALID)
            await list_jobs(channel, session(answer.session_token))


async def test_logins_survive_the_end_of_all_gateways(gateways: Gateways) -> None:
    former = await gateways.start()
    session_of_alice, token = await logged_in(former), await created(former)
    await former.end()
    async with dashboard(await gateways.start()) as channel:
        await list_jobs(channel, session(session_of_alice))
        await redeem(channel, token)


async def test_the_user_owns_the_job_and_the_log_names_both(gateway: Gateway) -> None:
    token = await logged_in(gateway)
    async with dashboard(gateway) as channel:
        owner = await create_job(channel, session(token))
    assert owner.startswith("CN=alice,OU=Admin")
    [accepted] = gateway.cluster.engine.submitted
    assert accepted.job.owner == owner

    def lines() -> Logged:
        return [line for line in gateway.logged if "CreateJob" in str(line.get("method"))]

    await eventually(lambda: len(lines()) == 2)
    assert [line["event"] for line in lines()] == ["authorization", "rpc"]
    for line in lines():
        assert (line["subject"], line["role"]) == (owner, "Admin")
        assert str(line["delegate"]).startswith("CN=dashboard,OU=Delegate")


async def test_a_delegate_can_do_nothing_by_itself(gateway: Gateway) -> None:
    await logged_in(gateway)
    async with dashboard(gateway) as channel:
        await assert_refused(list_jobs(channel, ()), *ROLE_REQUIRED)
        await assert_refused(create_job(channel, ()), *ROLE_REQUIRED)
        logins = login_service_pb2_grpc.LoginServiceStub(channel)
        await assert_refused(logins.CreateLogin(login_service_pb2.CreateLoginRequest()), *ROLE_REQUIRED)
        nodes = cluster_service_pb2_grpc.ClusterServiceStub(channel)
        await assert_refused(nodes.ListNodes(cluster_service_pb2.ListNodesRequest()), *ROLE_REQUIRED)


async def test_a_session_has_the_role_of_the_user_and_cannot_prolong_itself(gateway: Gateway) -> None:
    token = await logged_in(gateway, "Viewer")
    async with dashboard(gateway) as channel:
        nodes = cluster_service_pb2_grpc.ClusterServiceStub(channel)
        await nodes.ListNodes(cluster_service_pb2.ListNodesRequest(), metadata=session(token))
        await assert_refused(create_job(channel, session(token)), *ROLE_REQUIRED)
        logins = login_service_pb2_grpc.LoginServiceStub(channel)
        request = login_service_pb2.CreateLoginRequest()
        await assert_refused(logins.CreateLogin(request, metadata=session(token)), *ROLE_REQUIRED)
        again = login_service_pb2.RedeemLoginRequest(token=await created(gateway))
        await assert_refused(logins.RedeemLogin(again, metadata=session(token)), *ROLE_REQUIRED)


@pytest.mark.parametrize("unit", ["Admin", "Viewer", "Gateway"])
async def test_only_a_delegate_redeems(gateway: Gateway, unit: str) -> None:
    token = await created(gateway)
    async with gateway.client(unit, "mallory") as channel:
        await assert_refused(redeem(channel, token), *ROLE_REQUIRED)


async def test_a_session_is_of_no_use_to_other_certificates(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await logged_in(gateway)
    for unit in ("Admin", "Viewer", "Gateway", "Delegate"):
        async with gateway.client(unit, "mallory") as thief:
            await assert_refused(list_jobs(thief, session(token)), *UNAUTHENTICATED)
    # Only delegates cause work for the archive.
    monkeypatch.setattr(SqliteArchive, "find_session", None)
    async with gateway.client("Admin", "mallory") as thief:
        await assert_refused(list_jobs(thief, session(b"x" * 32)), *UNAUTHENTICATED)


async def test_other_session_tokens_are_refused(gateway: Gateway) -> None:
    token = await logged_in(gateway)
    changed = [bytes([token[0] ^ 1]) + token[1:], token[:-1], token + b"x", b"x", b"x" * 32, b"x" * 12_000]
    async with dashboard(gateway) as channel:
        for wrong in changed:
            await assert_refused(list_jobs(channel, session(wrong)), *UNAUTHENTICATED)
        await list_jobs(channel, session(token))


async def test_without_the_archive_a_used_session_continues_and_no_session_is_lost(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await gateways.start(), await gateways.start()
    token, unused = await logged_in(first), await created(first)
    identity = login_service_pb2.GetIdentityRequest()
    async with dashboard(first) as one, dashboard(second) as two:
        logins = [login_service_pb2_grpc.LoginServiceStub(each) for each in (one, two)]
        await logins[0].GetIdentity(identity, metadata=session(token))
        with monkeypatch.context() as down:

            async def fail(*_: object) -> None:
                raise ClusterUnavailable("the database does not answer")

            for method in ("_read", "_write"):
                down.setattr(SqliteArchive, method, fail)
            await logins[0].GetIdentity(identity, metadata=session(token))
            # A dashboard ends a session that is UNAUTHENTICATED.
            await assert_refused(logins[1].GetIdentity(identity, metadata=session(token)), *NO_ARCHIVE)
            await assert_refused(redeem(two, unused), *NO_ARCHIVE)
            await assert_refused(created(first), *NO_ARCHIVE)
        await logins[1].GetIdentity(identity, metadata=session(token))
        await redeem(two, unused)


async def test_a_call_counts_for_the_delegate_until_its_user_is_known(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota = QuotaConfig(viewer=ViewerQuota(concurrent_rpcs=1))
    gateway = await gateways.start(quota=quota)
    token = await logged_in(gateway)
    asked, answers = asyncio.Event(), asyncio.Event()
    find = SqliteArchive.find_session

    async def slowly(archive: SqliteArchive, token_hash: str) -> bytes | None:
        asked.set()
        await answers.wait()
        return await find(archive, token_hash)

    monkeypatch.setattr(SqliteArchive, "find_session", slowly)
    async with dashboard(gateway) as channel:
        first = asyncio.ensure_future(list_jobs(channel, session(token)))
        await asked.wait()
        await assert_refused(list_jobs(channel, session(token)), *QUOTA)
        answers.set()
        await first
        # From now on, calls count for the user, who is an admin.
        await list_jobs(channel, session(token))


async def watch(channel: aio.Channel, token: bytes, begun: asyncio.Event) -> None:
    """Read a stream to its end."""
    stub = job_service_pb2_grpc.JobServiceStub(channel)
    call = stub.WatchJobs(job_watch_pb2.WatchJobsRequest(), metadata=session(token))
    await call.read()
    begun.set()
    while await call.read() is not aio.EOF:
        pass


async def test_an_open_stream_ends_with_the_session(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_token, "SECONDS", 3.0)
    token = await logged_in(gateway)
    async with dashboard(gateway) as channel:
        await assert_refused(watch(channel, token, asyncio.Event()), *UNAUTHENTICATED)


async def test_a_revocation_of_the_user_ends_the_open_streams(
    gateway: Gateway, authority: Authority, tmp_path: Path
) -> None:
    user = authority.client("alice", "Admin").cert_chain_pems[0].bytes()
    logins = ArchiveLogins(gateway.cluster.archive)
    begun = asyncio.Event()
    async with dashboard(gateway) as channel:
        delegate = (await redeem(channel, await created(gateway))).identity.delegate
        token = await logins.begin("CN=alice", DelegatedSession(delegate, user, b"", 2.0**40))
        watching = asyncio.ensure_future(watch(channel, token, begun))
        await begun.wait()
        issuer = load_pair(authority.ca.cert_pem.bytes(), authority.ca.private_key_pem.bytes())
        serial = x509.load_pem_x509_certificate(user).serial_number
        (tmp_path / "1/certs/crl.pem").write_bytes(revocation_list.add(issuer, b"", serial))
        await assert_refused(watching, *REVOKED)
        await assert_refused(list_jobs(channel, session(token)), *REVOKED)


async def test_a_session_in_use_stays_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_logins, "MAX_LOADED", 2)
    archive = await SqliteArchive.connect(tmp_path / "archive.sqlite")
    logins, sessions = ArchiveLogins(archive), ArchiveSessions(archive)
    tokens = [
        await logins.begin(f"CN={number}", DelegatedSession("CN=dashboard", b"", b"", 2.0**40))
        for number in range(3)
    ]
    for token in tokens:
        await sessions.load(token)
        sessions.verify(tokens[0], "CN=dashboard")
    assert [sessions.is_loaded(token) for token in tokens] == [True, False, True]
    with pytest.raises(Unauthenticated):
        sessions.verify(tokens[1], "CN=dashboard")
    await archive.close()


def files_of_the_archive(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.glob("archive.sqlite*"))


async def test_the_archive_has_no_token(gateway: Gateway, tmp_path: Path) -> None:
    token, session_of_alice = await created(gateway), await logged_in(gateway)
    content = files_of_the_archive(tmp_path)
    assert b"BEGIN CERTIFICATE" in content
    for secret in (token.encode(), session_of_alice, session_of_alice.hex().encode()):
        assert secret not in content
