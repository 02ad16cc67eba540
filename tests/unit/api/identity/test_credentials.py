"""Unusable and replaced certificates of a running API process."""

import asyncio
import time
import types
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from api_process import Start, connected, failure, get, starter
from api_server import JOB_ID, Api, Authority, eventually, refusal, write_log
from certificates import DAY, Issued, issue, pair
from certificates import authority as short_lived_authority
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2, health_pb2_grpc
from msgspec.structs import replace
from unusable_pairs import UNUSABLE_PAIRS

from jobworker.v1 import job_service_pb2
from jobworkerd import server_certificate
from jobworkerd.certs import revocation_list
from jobworkerd.certs.authority import load_pair
from jobworkerd.config import Config
from jobworkerd.rpc_server.identity import principal


@pytest.fixture
def start() -> Start:
    """Start an API process."""
    return starter()


async def test_missing_certificates(start: Start, config: Config, tmp_path: Path) -> None:
    reason = await failure(start, replace(config, certs_dir=str(tmp_path / "nowhere")))
    assert "nowhere/ca.pem: No such file or directory" in reason
    assert "jobworkerd certs init" in reason


async def test_an_unusable_pair(start: Start, config: Config, authority: Authority) -> None:
    make, reason = UNUSABLE_PAIRS["mismatched"]
    make(pair(authority.ca)).write_server(Path(config.certs_dir))
    assert (await failure(start, config)).startswith(f"{config.certs_dir}/server.pem {reason}")


def _damage(config: Config, name: str) -> None:
    Path(config.certs_dir, name).write_text("nonsense")


async def test_a_damaged_authority(start: Start, config: Config) -> None:
    _damage(config, "ca.pem")
    assert "damaged" in await failure(start, config)


async def test_a_renewal_with_an_unusable_pair(start: Start, config: Config, authority: Authority) -> None:
    make, reason = UNUSABLE_PAIRS["Ed25519"]
    async with start(config) as started:
        address = await started.address()
        make(pair(authority.ca)).write_server(Path(config.certs_dir))
        await eventually(lambda: reason in str(started.event("certificates not renewed")))
        async with connected(address, authority) as client:
            assert await get(client) == JOB_ID


@pytest.mark.parametrize(
    ("start_at", "end", "sentence"),
    [(-2, -1, "expired at 20"), (1, 2, "is not valid before 20"), (-1, 1, None)],
    ids=["expired", "early", "valid"],
)
async def test_a_server_certificate_that_is_not_valid_causes_a_warning(
    start: Start, config: Config, authority: Authority, start_at: int, end: int, sentence: str | None
) -> None:
    issued = issue(pair(authority.ca), start=start_at * DAY, end=end * DAY)
    issued.write_server(Path(config.certs_dir))
    async with start(config) as started:
        await started.address()
    warning = started.event("server certificate not valid")
    if sentence is None:
        assert warning is None
    else:
        assert warning
        assert str(warning["reason"]).startswith(f"{config.certs_dir}/server.pem {sentence}")


async def test_a_server_certificate_that_expires_causes_one_warning(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []

    def expired(_certificate: object, _now: object) -> str:
        checked.append("expired at 2020-01-01T00:00:00Z")
        return checked[-1]

    assert not api.events("server certificate not valid")
    monkeypatch.setattr(server_certificate, "validity_problem", expired)
    await eventually(lambda: len(checked) > 1)
    (warning,) = api.events("server certificate not valid")
    assert "server.pem expired at 2020-01-01T00:00:00Z; clients refuse it" in str(warning["reason"])


async def test_renewed_certificates_need_no_restart(
    start: Start, config: Config, authority: Authority
) -> None:
    async with start(config) as started:
        address = await started.address()
        async with connected(address, authority) as client:
            assert await get(client) == JOB_ID
            authority.write_server(Path(config.certs_dir))
            await eventually(lambda: started.event("certificates renewed"))
            assert await get(client) == JOB_ID


async def test_a_replaced_authority_ends_connections_and_streams(
    start: Start, config: Config, authority: Authority
) -> None:
    """TLS checks certificates only in the handshake, so open connections need this check."""
    write_log(Path(config.state_dir))
    request = job_service_pb2.GetJobsStreamRequest(id=JOB_ID)
    async with start(config) as started:
        address = await started.address()
        async with connected(address, authority) as client:
            assert await get(client) == JOB_ID
            stream = client.stub.GetJobsStream(request)
            wait = client.stub.WaitJob(job_service_pb2.WaitJobRequest(id=JOB_ID))
            watch = health_pb2_grpc.HealthStub(client.channel).Watch(health_pb2.HealthCheckRequest())
            await watch.read()
            await eventually(lambda: len(started.supervisor.requests) >= 2)
            renewed = Authority()
            renewed.write_server(Path(config.certs_dir))
            for call in (stream, wait, watch):
                assert await asyncio.wait_for(call.code(), 20) is grpc.StatusCode.UNAUTHENTICATED
                assert "current authority" in (await call.details() or "")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await get(client)
            assert refusal(caught.value).reason == "UNAUTHENTICATED"
        async with connected(address, renewed) as client:
            assert await get(client, wait_for_ready=True) == JOB_ID
    ended = [
        event
        for event in started.events
        if event["event"] == "rpc" and str(event["method"]).endswith(("Stream", "WaitJob"))
    ]
    assert [event["status"] for event in ended] == ["UNAUTHENTICATED"] * 2


async def test_an_open_stream_ends_when_the_client_certificate_expires(
    api: Api, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certificates of trustme are valid for long, so the clock advances by 3,000 years."""
    write_log(Path(config.state_dir, "jobs"))
    async with api.client() as client:
        request = job_service_pb2.GetJobsStreamRequest(id=JOB_ID)
        stream = client.stub.GetJobsStream(request)
        await eventually(lambda: api.supervisor.requests)
        later = types.SimpleNamespace(time=lambda: 1e11, strftime=time.strftime, gmtime=time.gmtime)
        monkeypatch.setattr(principal, "time", later)
        assert await asyncio.wait_for(stream.code(), 20) is grpc.StatusCode.UNAUTHENTICATED
        assert "expired at" in (await stream.details() or "")
        for call in (
            client.stub.GetJob(job_service_pb2.GetJobRequest(id=JOB_ID)),
            client.stub.GetJobsStream(request),
        ):
            assert await asyncio.wait_for(call.code(), 20) is grpc.StatusCode.UNAUTHENTICATED
        await eventually(lambda: len(api.events("rpc")) == 3)
    assert {event["status"] for event in api.events("rpc")} == {"UNAUTHENTICATED"}


class TestRevocationLists:
    """`crl.pem` of a running process."""

    async def test_a_damaged_file_at_the_start(self, start: Start, config: Config) -> None:
        _damage(config, "crl.pem")
        reason = await failure(start, config)
        assert reason.startswith(f"{config.certs_dir}/crl.pem is unusable (the file does not end with")

    async def test_a_list_of_another_authority_at_the_start(self, start: Start, config: Config) -> None:
        _revoke(config, Authority(), 1)
        assert "no authority in ca.pem signed the list" in await failure(start, config)

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            (lambda config: _damage(config, "crl.pem"), "is unusable"),
            (lambda config: Path(config.certs_dir, "crl.pem").unlink(), "is missing"),
        ],
        ids=["damaged", "removed"],
    )
    async def test_the_last_valid_list_stays_in_use(
        self,
        start: Start,
        config: Config,
        authority: Authority,
        change: Callable[[Config], None],
        sentence: str,
    ) -> None:
        revoked = issue(pair(authority.ca))
        async with start(config) as started:
            address = await started.address()
            async with (
                connected(address, authority, revoked) as client,
                connected(address, authority) as other,
            ):
                assert await get(client) == JOB_ID
                _revoke(config, authority, _serial(revoked))
                await eventually(lambda: started.event("certificates renewed"))
                change(config)
                await eventually(lambda: started.event("certificates not renewed"))
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await get(client)
                assert refusal(caught.value).reason == "CERTIFICATE_REVOKED"
                assert await get(other) == JOB_ID
        warning = started.event("certificates not renewed")
        assert warning
        assert str(warning["reason"]).startswith(f"{config.certs_dir}/crl.pem {sentence}")

    async def test_an_unusable_server_certificate_does_not_delay_a_revocation(
        self, start: Start, config: Config, authority: Authority
    ) -> None:
        revoked = issue(pair(authority.ca))
        async with start(config) as started, connected(await started.address(), authority, revoked) as client:
            assert await get(client) == JOB_ID
            issue(pair(authority.ca), end=-DAY / 2).write_server(Path(config.certs_dir))
            _revoke(config, authority, _serial(revoked))
            await eventually(lambda: started.event("certificates not renewed"))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await get(client)
            assert refusal(caught.value).code is grpc.StatusCode.PERMISSION_DENIED
            async with connected(await started.address(), authority) as other:
                assert await get(other) == JOB_ID
        warning = started.event("certificates not renewed")
        assert warning
        assert "server.pem expired at 20" in str(warning["reason"])


def _revoke(config: Config, authority: Authority, serial: int) -> None:
    issuer = pair(authority.ca)
    path = Path(config.certs_dir, "crl.pem")
    path.with_suffix(".new").write_bytes(
        revocation_list.add(load_pair(issuer.certificate, issuer.key), b"", serial)
    )
    path.with_suffix(".new").rename(path)


def _serial(issued: Issued) -> int:
    return x509.load_pem_x509_certificate(issued.certificate).serial_number


@pytest.mark.parametrize("days", [29, 31])
async def test_a_certificate_that_expires_soon(
    start: Start, config: Config, authority: Authority, days: int
) -> None:
    issue(pair(authority.ca), end=days * DAY).write_server(Path(config.certs_dir))
    async with start(config) as started, connected(await started.address(), authority) as client:
        health = health_pb2_grpc.HealthStub(client.channel)
        await get(client)
        request = health_pb2.HealthCheckRequest(service="certificates")
        status = (await health.Check(request, timeout=20)).status
    warning = started.event("certificate expires soon")
    if days > 30:
        assert (warning, status) == (None, health_pb2.HealthCheckResponse.SERVING)
        return
    assert status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert warning
    assert str(warning["reason"]).startswith(f"{config.certs_dir}/server.pem expires at 20")
    assert str(warning["reason"]).endswith("renew it with: jobworkerd certs renew server")


def _write_short_lived(directory: Path) -> None:
    authority = short_lived_authority(ec.generate_private_key(ec.SECP256R1()))
    (directory / "ca.pem").write_bytes(authority.certificate)
    issue(authority, end=29 * DAY).write_server(directory)


async def test_the_server_and_its_authority_have_a_notice_each(start: Start, config: Config) -> None:
    _write_short_lived(Path(config.certs_dir))
    async with start(config) as started:
        await started.address()
    reasons = [str(each["reason"]) for each in started.events if each["event"] == "certificate expires soon"]
    assert [reason.partition(" ")[0] for reason in reasons] == [
        f"{config.certs_dir}/server.pem",
        f"{config.certs_dir}/ca.pem",
    ]
    assert reasons[1].endswith("; replace the authority with: jobworkerd certs rollover")


async def test_damaged_files_leave_the_old_certificates_in_use(
    start: Start, config: Config, authority: Authority
) -> None:
    async with start(config) as started:
        address = await started.address()
        _damage(config, "server.pem")
        async with asyncio.timeout(20):
            while (warning := started.event("certificates not renewed")) is None:
                async with connected(address, authority) as client:
                    assert await get(client) == JOB_ID
    assert warning["level"] == "warning"
