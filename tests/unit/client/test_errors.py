"""Tests of the errors that failed calls raise, with both clients."""

import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import grpc
import pytest
import trustme

import jobworker_client
from jobworker_client import (
    Client,
    ClientConfig,
    ConnectFailure,
    ConnectionLost,
    ErrorReason,
    FieldViolation,
    InvalidRequest,
    JobNotFound,
    JobWorkerError,
    SyncClient,
    Unreachable,
)
from jobworker_client.errors import BY_REASON, ClientReason, parse_reason, reason_name
from scripted import JOB_ID, FakeServer
from scripted_endpoint import Endpoint
from scripted_messages import Refusal
from tests.unit.client.conftest import AnyClient


async def test_error_has_all_details_of_the_server(any_client: AnyClient, server: FakeServer) -> None:
    server.refusals["CreateJob"] = [
        Refusal(
            grpc.StatusCode.INVALID_ARGUMENT,
            "max_cpu: no",
            "INVALID_REQUEST",
            {"limit": "1"},
            {"max_cpu": "no", 'env["A B"]': "never"},
            retry_delay=1.5,
        )
    ]
    with pytest.raises(InvalidRequest) as raised:
        await any_client.call("create", "true")
    error = raised.value
    assert (error.code, error.reason, str(error)) == ("INVALID_ARGUMENT", "INVALID_REQUEST", "max_cpu: no")
    assert error.metadata == {"limit": "1"}
    assert error.fields == (FieldViolation("max_cpu", "no"), FieldViolation('env["A B"]', "never"))
    assert (error.retryable, error.retry_delay) == (False, 1.5)
    assert isinstance(error.__cause__ or error.__context__, grpc.RpcError)


REASONS = [reason for reason in ErrorReason.values() if reason]


@pytest.mark.parametrize("reason", REASONS, ids=reason_name)
async def test_every_reason_of_the_api_has_an_error_class(
    any_client: AnyClient, server: FakeServer, reason: ErrorReason.ValueType
) -> None:
    server.refusals["GetJob"] = [Refusal(grpc.StatusCode.ABORTED, "no", reason_name(reason))]
    with pytest.raises(BY_REASON[reason]) as raised:
        await any_client.call("get", JOB_ID)
    assert (raised.value.reason, raised.value.error_reason) == (reason_name(reason), reason)
    assert type(raised.value) is not JobWorkerError
    assert type(raised.value).__name__ in jobworker_client.__all__


def test_reasons_have_different_error_classes() -> None:
    assert len(set(BY_REASON.values())) == len(BY_REASON) == len(REASONS)


def test_the_client_adds_reasons_that_the_api_lacks() -> None:
    assert {parse_reason(reason) for reason in ClientReason} == {ErrorReason.ERROR_REASON_UNSPECIFIED}


@pytest.mark.parametrize("reason", ["A_NEW_REASON", "UNSPECIFIED", ""])
async def test_unknown_reason_is_a_plain_error(
    any_client: AnyClient, server: FakeServer, reason: str
) -> None:
    server.refusals["GetJob"] = [Refusal(grpc.StatusCode.DATA_LOSS, "new", reason)]
    with pytest.raises(JobWorkerError, match="new") as raised:
        await any_client.call("get", JOB_ID)
    assert (raised.value.code, raised.value.reason) == ("DATA_LOSS", reason)
    assert raised.value.error_reason == ErrorReason.ERROR_REASON_UNSPECIFIED
    assert type(raised.value) is JobWorkerError


async def test_unknown_job_id(any_client: AnyClient) -> None:
    for method in ("get", "stop", "wait"):
        with pytest.raises(JobNotFound):
            await any_client.call(method, JOB_ID)


async def test_lost_connection_has_a_reason(any_client: AnyClient, server: FakeServer) -> None:
    server.refusals["GetJob"] = [Refusal(grpc.StatusCode.UNAVAILABLE, "gone")] * 9
    with pytest.raises(ConnectionLost, match="gone") as raised:
        await any_client.call("get", JOB_ID)
    assert (raised.value.code, raised.value.reason) == ("UNAVAILABLE", "CONNECTION_LOST")


async def get_with_asyncio(config: ClientConfig) -> None:
    """Make a call."""
    async with Client(config) as client:
        await client.get(JOB_ID)


async def get_with_thread(config: ClientConfig) -> None:
    """Make a call."""
    with SyncClient(config) as client:
        await AnyClient(client).call("get", JOB_ID)


async def cause(get: Callable[[ClientConfig], Awaitable[None]], config: ClientConfig) -> ConnectFailure:
    """Return the cause of a failed connection."""
    with pytest.raises(Unreachable) as raised:
        await get(config)
    assert raised.value.reason == "UNREACHABLE"
    return raised.value.cause


@contextlib.contextmanager
def piped(file: Path) -> Iterator[str]:
    """Yield a path that can be read only once, like a shell's `<(command)`."""
    reader, writer = os.pipe()
    os.write(writer, file.read_bytes())
    os.close(writer)
    yield f"/dev/fd/{reader}"
    os.close(reader)


async def test_files_may_be_pipes(endpoint: Endpoint, certs: Path, server: FakeServer) -> None:
    server.add()
    with (
        piped(certs / "ca.pem") as ca,
        piped(certs / "admin.pem") as cert,
        piped(certs / "admin-key.pem") as key,
    ):
        await get_with_asyncio(
            ClientConfig.from_directory(
                "/nowhere", server=f"localhost:{endpoint.port}", ca=ca, cert=cert, key=key
            )
        )


@pytest.mark.parametrize("get", [get_with_asyncio, get_with_thread])
async def test_cause_of_a_failed_connection(
    get: Callable[[ClientConfig], Awaitable[None]], endpoint: Endpoint, certs: Path, tmp_path: Path
) -> None:
    def config(**other: str) -> ClientConfig:
        return ClientConfig.from_directory(certs, server=f"localhost:{endpoint.port}", **other)

    other_ca = trustme.CA()
    other_ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf = other_ca.issue_cert("admin@example.org")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    assert await cause(get, config(ca=str(tmp_path / "ca.pem"))) is ConnectFailure.UNTRUSTED
    assert await cause(get, config(server_name="elsewhere.example")) is ConnectFailure.OTHER_NAME
    with piped(certs / "viewer-key.pem") as key:
        assert await cause(get, config(key=key)) is ConnectFailure.CLIENT_FILES
    other_files = {"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    assert await cause(get, config(**other_files)) is ConnectFailure.CLOSED
    await endpoint.stop()
    assert await cause(get, config()) is ConnectFailure.REFUSED
