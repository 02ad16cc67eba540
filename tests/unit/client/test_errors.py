"""What a failed call raises, with either client."""

import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import grpc
import pytest
import trustme

import jobworker_client
from jobworker_client import (
    Cause,
    Client,
    ConnectionLost,
    FieldViolation,
    InvalidRequest,
    JobNotFound,
    JobWorkerError,
    SyncClient,
    Target,
    Unreachable,
)
from jobworker_client.errors import BY_REASON
from scripted import JOB_ID, FakeServer, Listening, Refusal
from tests.unit.client.conftest import Shell

PROTO = (Path(__file__).parents[3] / "proto/jobworker/v1/job_service.proto").read_text()


async def test_an_error_has_all_that_the_server_said(shell: Shell, server: FakeServer) -> None:
    server.refusals["CreateJob"] = [
        Refusal(
            grpc.StatusCode.INVALID_ARGUMENT,
            "max_cpu: no",
            "INVALID_REQUEST",
            {"limit": "1"},
            {"max_cpu": "no", 'env["A B"]': "never"},
        )
    ]
    with pytest.raises(InvalidRequest) as raised:
        await shell.call("create", "true")
    error = raised.value
    assert (error.code, error.reason, str(error)) == ("INVALID_ARGUMENT", "INVALID_REQUEST", "max_cpu: no")
    assert error.metadata == {"limit": "1"}
    assert error.fields == (FieldViolation("max_cpu", "no"), FieldViolation('env["A B"]', "never"))
    assert not error.retryable
    assert isinstance(error.__cause__ or error.__context__, grpc.RpcError)


@pytest.mark.parametrize(("reason", "kind"), BY_REASON.items())
async def test_each_reason_has_its_class(
    shell: Shell, server: FakeServer, reason: str, kind: type[JobWorkerError]
) -> None:
    server.refusals["GetJob"] = [Refusal(grpc.StatusCode.ABORTED, "no", reason)]
    with pytest.raises(kind) as raised:
        await shell.call("get", JOB_ID)
    assert raised.value.reason == reason


@pytest.mark.parametrize("reason", BY_REASON)
def test_the_api_names_the_reason(reason: str) -> None:
    assert reason in PROTO
    assert BY_REASON[reason].__name__ in jobworker_client.__all__


@pytest.mark.parametrize("reason", ["A_NEW_REASON", ""])
async def test_what_is_new_is_an_error_all_the_same(shell: Shell, server: FakeServer, reason: str) -> None:
    server.refusals["GetJob"] = [Refusal(grpc.StatusCode.DATA_LOSS, "new", reason)]
    with pytest.raises(JobWorkerError, match="new") as raised:
        await shell.call("get", JOB_ID)
    assert (raised.value.code, raised.value.reason) == ("DATA_LOSS", reason)


async def test_an_unknown_job(shell: Shell) -> None:
    for method in ("get", "stop", "wait"):
        with pytest.raises(JobNotFound):
            await shell.call(method, JOB_ID)


async def test_a_connection_that_is_lost_has_a_reason(shell: Shell, server: FakeServer) -> None:
    server.refusals["GetJob"] = [Refusal(grpc.StatusCode.UNAVAILABLE, "gone")] * 9
    with pytest.raises(ConnectionLost, match="gone") as raised:
        await shell.call("get", JOB_ID)
    assert (raised.value.code, raised.value.reason) == ("UNAVAILABLE", "CONNECTION_LOST")


async def get_with_asyncio(target: Target) -> None:
    """Makes a call."""
    async with Client(target) as client:
        await client.get(JOB_ID)


async def get_with_a_thread(target: Target) -> None:
    """Makes a call."""
    with SyncClient(target) as client:
        await Shell(client).call("get", JOB_ID)


async def cause(get: Callable[[Target], Awaitable[None]], target: Target) -> Cause:
    """Returns why there is no connection."""
    with pytest.raises(Unreachable) as raised:
        await get(target)
    assert raised.value.reason == "UNREACHABLE"
    return raised.value.cause


@contextlib.contextmanager
def piped(file: Path) -> Iterator[str]:
    """Gives a file's content as a shell's `<(command)` does: it can be read once."""
    reader, writer = os.pipe()
    os.write(writer, file.read_bytes())
    os.close(writer)
    yield f"/dev/fd/{reader}"
    os.close(reader)


async def test_files_from_a_shell_s_pipes_are_good(
    listening: Listening, certs: Path, server: FakeServer
) -> None:
    server.add()
    with (
        piped(certs / "ca.pem") as ca,
        piped(certs / "admin.pem") as cert,
        piped(certs / "admin-key.pem") as key,
    ):
        await get_with_asyncio(
            Target.from_folder("/nowhere", server=f"localhost:{listening.port}", ca=ca, cert=cert, key=key)
        )


@pytest.mark.parametrize("get", [get_with_asyncio, get_with_a_thread])
async def test_why_no_connection_can_be_made(
    get: Callable[[Target], Awaitable[None]], listening: Listening, certs: Path, tmp_path: Path
) -> None:
    def target(**other: str) -> Target:
        return Target.from_folder(certs, server=f"localhost:{listening.port}", **other)

    stranger = trustme.CA()
    stranger.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf = stranger.issue_cert("admin@example.org")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    assert await cause(get, target(ca=str(tmp_path / "ca.pem"))) is Cause.UNTRUSTED
    assert await cause(get, target(server_name="elsewhere.example")) is Cause.OTHER_NAME
    with piped(certs / "viewer-key.pem") as key:
        assert await cause(get, target(key=key)) is Cause.OUR_FILES
    theirs = {"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    assert await cause(get, target(**theirs)) is Cause.CLOSED
    await listening.stop()
    assert await cause(get, target()) is Cause.REFUSED
