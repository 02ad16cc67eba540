"""A delegate acts for users that have logged in, and for no others."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine
from pathlib import Path
from typing import TypeVar

import grpc
import pytest
from api_server import JOB, Api, Authority, Client, StartApi, eventually, refusal
from cryptography import x509
from grpc import aio
from msgspec.structs import replace

from jobworker.v1 import job_service_pb2, job_watch_pb2, login_service_pb2, login_service_pb2_grpc
from jobworkerd.certs import revocation_list
from jobworkerd.certs.authority import load_pair
from jobworkerd.config import Config
from jobworkerd.protocol import messages
from jobworkerd.protocol.login_messages import CreateLogin, GetSessionKey, RedeemLogin
from jobworkerd.quotas import AdminQuota, QuotaConfig
from jobworkerd.rpc_server.identity.session_token import METADATA_KEY, DelegatedSession, SessionTokens
from jobworkerd.supervisor.logins import Logins

T = TypeVar("T")
KEY = b"k" * 32
Metadata = tuple[tuple[str, bytes], ...]


class FixedKey:
    """The key of the supervisor."""

    async def get(self) -> bytes:
        return KEY


def now(reply: Coroutine[None, None, T]) -> T:
    """Return the result of a coroutine that does not wait."""
    try:
        reply.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")


class Supervisor:
    """The logins of a supervisor, and jobs that run at once."""

    def __init__(self) -> None:
        self.logins = Logins(FixedKey())  # type: ignore[arg-type]  # the part that is used

    def reply(self, body: messages.RequestBody) -> messages.ReplyBody:
        match body:
            case CreateLogin() | RedeemLogin() | GetSessionKey():
                return now(self.logins.handle(body))
            case messages.WatchJobs():
                return messages.Watching(1, 0, 0)
            case messages.ListJobs():
                return messages.JobPage(())
            case messages.UnwatchJobs() | messages.DeleteJob():
                return messages.Done()
        return messages.OneJob(JOB)


@pytest.fixture
def supervisor() -> Supervisor:
    return Supervisor()


@pytest.fixture
async def shared(api: Api, supervisor: Supervisor) -> Api:
    """An API with logins."""
    api.supervisor.script = supervisor.reply
    return api


def stub(client: Client) -> login_service_pb2_grpc.LoginServiceStub:
    return login_service_pb2_grpc.LoginServiceStub(client.channel)


async def token_of(api: Api, unit: str = "Admin", name: str = "alice") -> str:
    """Create a one-time token as a user."""
    async with api.client(unit, name) as user:
        return (await stub(user).CreateLogin(login_service_pb2.CreateLoginRequest())).token


async def redeem(dashboard: Client, token: str) -> login_service_pb2.RedeemLoginResponse:
    return await stub(dashboard).RedeemLogin(login_service_pb2.RedeemLoginRequest(token=token))


@contextlib.asynccontextmanager
async def logged_in(
    api: Api, unit: str = "Admin", name: str = "alice"
) -> AsyncIterator[tuple[Client, bytes]]:
    """Connect as a delegate for which a user has logged in."""
    async with api.client("Delegate", "dashboard") as dashboard:
        yield dashboard, (await redeem(dashboard, await token_of(api, unit, name))).session_token


def session(token: bytes) -> Metadata:
    return ((METADATA_KEY, token),)


async def list_jobs(client: Client, metadata: Metadata) -> None:
    await client.stub.ListJobs(job_service_pb2.ListJobsRequest(), metadata=metadata)


async def assert_refused(call: Awaitable[object], code: grpc.StatusCode, reason: str) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    refused = refusal(caught.value)
    assert (refused.code, refused.reason) == (code, reason)


UNAUTHENTICATED = (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
ROLE_REQUIRED = (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
REVOKED = (grpc.StatusCode.PERMISSION_DENIED, "CERTIFICATE_REVOKED")
INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


@pytest.mark.parametrize("unit", ["Admin", "Viewer"])
async def test_a_delegate_has_the_identity_of_the_user(shared: Api, unit: str) -> None:
    async with logged_in(shared, unit) as (dashboard, token):
        request = login_service_pb2.GetIdentityRequest()
        found = (await stub(dashboard).GetIdentity(request, metadata=session(token))).identity
        await list_jobs(dashboard, session(token))
    assert found.subject.startswith(f"CN=alice,OU={unit}")
    assert (found.role, found.delegate.partition(",")[0]) == (unit, "CN=dashboard")


async def test_the_user_owns_the_job_and_the_log_names_both(shared: Api) -> None:
    async with logged_in(shared) as (dashboard, token):
        await dashboard.stub.CreateJob(
            job_service_pb2.CreateJobRequest(command="true"), metadata=session(token)
        )
    (start,) = (each for each in shared.supervisor.requests if isinstance(each, messages.StartJob))
    assert start.spec.owner.startswith("CN=alice,OU=Admin")
    await eventually(lambda: any("CreateJob" in str(line["method"]) for line in shared.events("rpc")))
    for event in ("authorization", "rpc"):
        (line,) = (each for each in shared.events(event) if "CreateJob" in str(each["method"]))
        assert (line["subject"], line["role"]) == (start.spec.owner, "Admin")
        assert str(line["delegate"]).startswith("CN=dashboard,OU=Delegate")


async def test_the_role_of_the_user_bounds_the_delegate(shared: Api) -> None:
    async with logged_in(shared, "Viewer") as (dashboard, token):
        create = job_service_pb2.CreateJobRequest(command="true")
        await assert_refused(dashboard.stub.CreateJob(create, metadata=session(token)), *ROLE_REQUIRED)


async def test_without_a_session_a_delegate_can_do_nothing(shared: Api) -> None:
    async with logged_in(shared) as (dashboard, _):
        await assert_refused(list_jobs(dashboard, ()), *ROLE_REQUIRED)


async def test_a_session_cannot_prolong_itself(shared: Api) -> None:
    async with logged_in(shared) as (dashboard, token):
        request = login_service_pb2.CreateLoginRequest()
        await assert_refused(stub(dashboard).CreateLogin(request, metadata=session(token)), *ROLE_REQUIRED)
        again = login_service_pb2.RedeemLoginRequest(token="x")
        await assert_refused(stub(dashboard).RedeemLogin(again, metadata=session(token)), *ROLE_REQUIRED)


async def test_a_login_token_is_valid_once_for_a_minute(
    shared: Api, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shared.client("Delegate", "dashboard") as dashboard:
        token, late = await token_of(shared), await token_of(shared)
        await redeem(dashboard, token)
        for wrong in (token, "", "guess"):
            await assert_refused(redeem(dashboard, wrong), *INVALID)
        later = time.monotonic() + 61
        monkeypatch.setattr(supervisor.logins, "_clock", lambda: later)
        await assert_refused(redeem(dashboard, late), *INVALID)


@pytest.mark.parametrize("unit", ["Admin", "Viewer", "Intern"])
async def test_only_a_delegate_redeems(shared: Api, unit: str) -> None:
    token = await token_of(shared)
    async with shared.client(unit, "mallory") as client:
        await assert_refused(redeem(client, token), *ROLE_REQUIRED)


async def test_a_session_is_of_no_use_to_other_certificates(shared: Api) -> None:
    async with logged_in(shared) as (_, token):
        for unit in ("Admin", "Viewer", "Delegate"):
            async with shared.client(unit, "mallory") as thief:
                await assert_refused(list_jobs(thief, session(token)), *UNAUTHENTICATED)


async def test_a_changed_session_token_is_refused(shared: Api) -> None:
    async with logged_in(shared) as (dashboard, token):
        positions = [0, 31, 32, 33, len(token) // 2, len(token) - 1]
        changed = [token[:at] + bytes([token[at] ^ 1]) + token[at + 1 :] for at in positions]
        for wrong in (*changed, token[:-1], token[:32], token + b"x", b"x", b"x" * 20_000):
            await assert_refused(list_jobs(dashboard, session(wrong)), *UNAUTHENTICATED)
        await assert_refused(list_jobs(dashboard, session(token) * 2), *UNAUTHENTICATED)
        await list_jobs(dashboard, session(token))


async def subject_of(client: Client) -> str:
    identity = (await stub(client).GetIdentity(login_service_pb2.GetIdentityRequest())).identity
    return identity.subject


async def test_a_session_is_of_no_use_to_a_user_even_if_it_names_that_user(shared: Api) -> None:
    async with shared.client("Admin", "mallory") as mallory:
        token = await forged(shared, delegate=await subject_of(mallory))
        await assert_refused(list_jobs(mallory, session(token)), *UNAUTHENTICATED)


async def forged(
    api: Api, key: bytes = KEY, seconds: float = 60.0, unit: str = "Admin", delegate: str = ""
) -> bytes:
    """Return a token as a server with this key signs it, by default for the delegate `dashboard`."""
    certificate = api.authority.client("alice", unit).cert_chain_pems[0].bytes()
    async with api.client("Delegate", "dashboard") as dashboard:
        answer = await redeem(dashboard, await token_of(api))
    tokens = SessionTokens(FixedKey().get)
    await tokens.load_key()
    tokens._key = key
    return tokens.sign(
        DelegatedSession(delegate or answer.identity.delegate, certificate, b"", time.time() + seconds)
    )


async def test_a_token_of_another_key_and_an_expired_one_are_refused(shared: Api) -> None:
    async with shared.client("Delegate", "dashboard") as dashboard:
        await list_jobs(dashboard, session(await forged(shared)))
        for token in (await forged(shared, b"other"), await forged(shared, seconds=-1.0)):
            await assert_refused(list_jobs(dashboard, session(token)), *UNAUTHENTICATED)


async def test_calls_that_wait_for_the_key_request_it_once() -> None:
    requests = 0

    async def request() -> bytes:
        nonlocal requests
        requests += 1
        await asyncio.sleep(0)
        return KEY

    tokens = SessionTokens(request)
    await asyncio.gather(*(tokens.load_key() for _ in range(3)))
    assert requests == 1


@pytest.mark.parametrize("unit", ["Delegate", "Intern"])
async def test_a_session_of_a_certificate_without_a_role_of_a_user_can_do_nothing(
    shared: Api, unit: str
) -> None:
    token = await forged(shared, unit=unit)
    async with shared.client("Delegate", "dashboard") as dashboard:
        await assert_refused(list_jobs(dashboard, session(token)), *ROLE_REQUIRED)


async def test_a_session_ends_with_the_certificate_of_the_user(shared: Api) -> None:
    """At the latest; the certificates of this authority are valid for longer than a session."""
    async with shared.client("Delegate", "dashboard") as dashboard:
        answer = await redeem(dashboard, await token_of(shared))
    assert abs(answer.expire_time.ToSeconds() - time.time() - 12 * 3_600) < 60


async def watch_until_refused(client: Client, token: bytes, revoke: "list[bytes]", directory: Path) -> None:
    """Open a stream, revoke certificates, and read the stream to its end."""
    call = client.stub.WatchJobs(job_watch_pb2.WatchJobsRequest(), metadata=session(token))
    await call.read()
    if revoke:
        add_to_crl(revoke, directory)
    while await call.read() is not aio.EOF:
        pass


def add_to_crl(certificates: "list[bytes]", directory: Path) -> None:
    issuer = load_pair((directory / "ca.pem").read_bytes(), (directory / "ca-key.pem").read_bytes())
    crl = b""
    for each in certificates:
        crl = revocation_list.add(issuer, crl, x509.load_pem_x509_certificate(each).serial_number)
    (directory / "crl.pem").write_bytes(crl)


async def test_an_open_stream_ends_with_the_session(shared: Api, config: Config) -> None:
    token = await forged(shared, seconds=3.0)
    async with shared.client("Delegate", "dashboard") as dashboard:
        ending = watch_until_refused(dashboard, token, [], Path(config.certs_dir))
        await assert_refused(ending, *UNAUTHENTICATED)


@pytest.mark.parametrize("revoked", ["alice", "dashboard"])
async def test_a_revocation_ends_the_open_streams(
    shared: Api, config: Config, authority: Authority, revoked: str
) -> None:
    """Of the user, or of the delegate."""
    directory = Path(config.certs_dir)
    authority.ca.private_key_pem.write_to_path(directory / "ca-key.pem")
    user, dash = authority.client("alice", "Admin"), authority.client("dashboard", "Delegate")
    async with shared.client_with(dash) as dashboard:
        async with shared.client_with(user) as alice:
            created = await stub(alice).CreateLogin(login_service_pb2.CreateLoginRequest())
        token = (await redeem(dashboard, created.token)).session_token
        certificate = (user if revoked == "alice" else dash).cert_chain_pems[0].bytes()
        await assert_refused(watch_until_refused(dashboard, token, [certificate], directory), *REVOKED)
        await assert_refused(list_jobs(dashboard, session(token)), *REVOKED)


async def test_a_token_of_one_api_process_is_valid_in_another(
    start_api: StartApi, shared: Api, supervisor: Supervisor, authority: Authority
) -> None:
    dash = authority.client("dashboard", "Delegate")
    async with start_api() as other:
        other.supervisor.script = supervisor.reply
        async with other.client_with(dash) as dashboard:
            token = (await redeem(dashboard, await token_of(shared))).session_token
        async with shared.client_with(dash) as dashboard:
            await list_jobs(dashboard, session(token))


class TestConnections:
    """The connection of a delegate belongs to the delegate."""

    @pytest.fixture
    def config(self, config: Config) -> Config:
        """A client with the role Admin can have one connection."""
        return replace(config, quota=QuotaConfig(admin=AdminQuota(connections=1)))

    async def test_it_does_not_count_for_its_users(self, shared: Api) -> None:
        async with shared.client("Admin", "alice") as alice, logged_in(shared) as (dashboard, token):
            for _ in range(3):
                await list_jobs(alice, ())
                await list_jobs(dashboard, session(token))
