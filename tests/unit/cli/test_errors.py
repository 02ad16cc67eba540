"""Tests of error messages: one sentence, one hint, no traceback."""

import asyncio
import json
from pathlib import Path

import grpc
import pytest
import trustme

from jobworker_cli.render.error_messages import CONNECT_HINTS
from jobworker_client import ConnectFailure
from jobworker_client.retry_policy import RetryPolicy
from tests.unit.cli.conftest import JOB_ID, Cli, Endpoint, FakeServer, Refusal

INVALID = grpc.StatusCode.INVALID_ARGUMENT
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


async def test_violations_name_the_options(cli: Cli, server: FakeServer) -> None:
    fields = {
        "max_cpu": "must not be negative",
        "working_directory": "must be absolute",
        'env["A B"]': "no",
        "command": "is empty",
    }
    server.refusals["CreateJob"] = [Refusal(INVALID, "4 fields are wrong", "INVALID_REQUEST", fields=fields)]
    result = await cli("create", "true")
    assert result.code == 1
    assert result.stderr == (
        "error: --max-cpu: must not be negative; --workdir: must be absolute; --env: no; "
        "COMMAND: is empty (INVALID_REQUEST)\n"
    )


async def test_violations_in_json_have_fields_and_options(cli: Cli, server: FakeServer) -> None:
    refusal = Refusal(INVALID, "max_cpu: no", "INVALID_REQUEST", fields={"max_cpu": "no"})
    server.refusals["CreateJob"] = [refusal]
    result = await cli("create", "-o", "json", "true")
    assert json.loads(result.stderr)["error"]["violations"] == [
        {"field": "max_cpu", "option": "--max-cpu", "description": "no"}
    ]


@pytest.mark.parametrize(
    ("refusal", "first_line"),
    [
        (
            Refusal(grpc.StatusCode.PERMISSION_DENIED, "CreateJob needs OU Admin", "ROLE_REQUIRED"),
            "error: CreateJob needs OU Admin (ROLE_REQUIRED)",
        ),
        (
            Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "500 jobs run", "TOO_MANY_JOBS"),
            "error: 500 jobs run (TOO_MANY_JOBS)",
        ),
        (
            Refusal(grpc.StatusCode.INTERNAL, "the server has a bug; log id 7"),
            "error: the server has a bug; log id 7 (INTERNAL)",
        ),
        (
            Refusal(grpc.StatusCode.ABORTED, "something new", "A_NEW_REASON"),
            "error: something new (A_NEW_REASON)",
        ),
        (
            Refusal(grpc.StatusCode.INTERNAL, "\x1b[2Jcleared"),
            r"error: \x1b[2Jcleared (INTERNAL)",
        ),
    ],
)
async def test_message_and_reason_of_the_server_are_printed(
    cli: Cli, server: FakeServer, refusal: Refusal, first_line: str
) -> None:
    server.refusals["CreateJob"] = [refusal]
    result = await cli("create", "true")
    assert result.code == 1
    assert result.stderr.splitlines()[0] == first_line
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("remedy", "hint"),
    [
        (
            "retry when a job has ended, or set queue_timeout to let the job wait",
            "use --queue to let the job",
        ),
        ("retry when other jobs have ended", "`jobworker list --status running` shows"),
    ],
)
async def test_the_queue_is_the_remedy_only_if_the_server_says_so(
    cli: Cli, server: FakeServer, remedy: str, hint: str
) -> None:
    why = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "500 jobs run", "TOO_MANY_JOBS", {"remedy": remedy})
    server.refusals["CreateJob"] = [why, why]
    result = await cli("create", "true")
    assert result.stderr.splitlines()[1].startswith(f"hint: {hint}")


@pytest.mark.parametrize("reason", ["QUOTA_EXCEEDED", "SERVER_BUSY"])
async def test_a_call_beyond_a_bound_has_the_delay_of_a_retry(
    cli: Cli, server: FakeServer, reason: str
) -> None:
    refusal = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "too often", reason, retry_delay=1.5)
    server.refusals["CreateJob"] = [refusal, refusal]
    result = await cli("create", "true")
    hint = "retry after 1.5s; the administrator of the server can change the setting"
    assert result.stderr == f"error: too often ({reason})\nhint: {hint}\n"
    result = await cli("create", "-o", "json", "true")
    assert json.loads(result.stderr)["error"]["retry_delay"] == 1.5


async def test_debug_prints_a_traceback(cli: Cli, server: FakeServer) -> None:
    server.refusals["GetJob"] = [Refusal(INVALID, "no", "INVALID_REQUEST")]
    result = await cli("--debug", "get", JOB_ID)
    assert "Traceback" in result.stderr
    assert "AioRpcError" in result.stderr
    assert "error: no (INVALID_REQUEST)" in result.stderr


@pytest.mark.parametrize("args", [["get", JOB_ID], ["list"], ["create", "true"], ["stop", JOB_ID]])
async def test_call_is_retried_while_the_server_is_unavailable(
    cli: Cli, server: FakeServer, args: list[str]
) -> None:
    server.add()
    method = {"get": "GetJob", "list": "ListJobs", "create": "CreateJob", "stop": "StopJob"}[args[0]]
    server.refusals[method] = [Refusal(UNAVAILABLE, "restarting"), Refusal(UNAVAILABLE, "restarting")]
    result = await cli(*args)
    assert result.code == 0, result.stderr
    assert not server.refusals[method]
    assert len({request.request_id for request in server.created}) <= 1


async def test_number_of_retries_is_bounded(cli: Cli, server: FakeServer) -> None:
    server.refusals["GetJob"] = [Refusal(UNAVAILABLE, "shutting down", "SHUTTING_DOWN") for _ in range(50)]
    result = await cli("get", JOB_ID)
    assert result.code == 1
    assert result.stderr == "error: shutting down (SHUTTING_DOWN)\n"
    assert len(server.refusals["GetJob"]) == 50 - 1 - len(RetryPolicy().call_backoff)


async def test_a_job_that_may_exist_is_created_again_with_its_request_id(
    cli: Cli, server: FakeServer
) -> None:
    message = "the cluster is not available; retry"
    away = Refusal(UNAVAILABLE, message, "CLUSTER_UNAVAILABLE")
    server.refusals["CreateJob"] = [away] * 50
    result = await cli("create", "--request-id", "again", "true")
    assert result.code == 1
    hint = "hint: the job may have started; repeat the command with --request-id again"
    assert result.stderr.splitlines() == [f"error: {message} (CLUSTER_UNAVAILABLE)", hint]


async def test_call_times_out(cli: Cli, server: FakeServer) -> None:
    async def never(_: object) -> object:
        return await asyncio.Event().wait()

    server.creating = never  # type: ignore[assignment]  # never returns
    result = await cli("--timeout", "200ms", "create", "--request-id", "again", "true")
    assert result.code == 1
    assert f"error: {cli.server} did not answer in time" in result.stderr
    assert "hint: the job may have started; repeat the command with --request-id again" in result.stderr


@pytest.mark.parametrize(("subcommand", "code"), [("get", 1), ("stream", 125), ("wait", 125)])
async def test_refused_connection_is_reported(
    cli: Cli, endpoint: Endpoint, subcommand: str, code: int
) -> None:
    await endpoint.stop()
    result = await cli(subcommand, JOB_ID)
    assert result.code == code
    error, hint = result.stderr.splitlines()[-2:]
    assert error == f"error: cannot reach the server at {cli.server}: connection refused (UNREACHABLE)"
    assert hint.startswith("hint: start jobworkerd, or the gateway of the cluster, there; or check --server")


async def test_server_certificate_of_another_ca_is_not_trusted(cli: Cli, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    result = await cli("--ca", str(tmp_path / "other.pem"), "get", JOB_ID)
    assert result.code == 1
    assert "the configured CA did not sign the certificate of the server" in result.stderr


async def test_client_certificate_of_another_ca_is_refused(cli: Cli, tmp_path: Path) -> None:
    leaf = trustme.CA().issue_cert("admin@example.org")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    (tmp_path / "key.pem").chmod(0o600)
    result = await cli("--cert", str(tmp_path / "cert.pem"), "--key", str(tmp_path / "key.pem"), "list")
    assert result.code == 1
    assert "as it does for a client certificate that it refuses" in result.stderr


async def test_server_name_can_be_overridden(cli: Cli, endpoint: Endpoint) -> None:
    wrong = await cli("--server-name", "elsewhere.example", "list")
    assert wrong.code == 1
    assert "the certificate of the server is for another name" in wrong.stderr
    right = await cli("--server", f"127.0.0.1:{endpoint.port}", "--server-name", "localhost", "list")
    assert right.code == 0, right.stderr


async def test_key_of_another_certificate_is_reported(cli: Cli, certs: Path) -> None:
    result = await cli("--key", str(certs / "viewer-key.pem"), "list")
    assert result.code == 1
    assert f"error: {certs}/viewer-key.pem: the key does not belong to the certificate {certs}/admin.pem" in (
        result.stderr
    )


async def test_missing_file_has_a_hint(cli: Cli, tmp_path: Path) -> None:
    result = await cli("--certs", str(tmp_path), "list")
    assert result.code == 1
    assert result.stderr == (
        f"error: {tmp_path}/ca.pem: cannot read the file: No such file or directory\n"
        "hint: set --certs (JOBWORKER_CERTS) to the directory with ca.pem, ROLE.pem and ROLE-key.pem, "
        "or --ca, --cert and --key to single files\n"
    )


async def test_empty_file_does_not_abort_the_process(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").touch(mode=0o600)
    for option in ("--ca", "--cert", "--key"):
        result = await cli(option, str(tmp_path / "empty"), "list")
        assert result.code == 1
        assert f"error: {tmp_path}/empty: the file is empty\n" in result.stderr


async def test_key_that_other_users_can_read_is_a_warning(cli: Cli, certs: Path, tmp_path: Path) -> None:
    key = tmp_path / "admin-key.pem"
    key.write_bytes((certs / "admin-key.pem").read_bytes())
    key.chmod(0o640)
    result = await cli("--key", str(key), "list")
    assert result.code == 0
    assert result.stderr == f"warning: other users can read the key {key}; run: chmod 600 {key}\n"


async def test_role_selects_the_certificate(cli: Cli, certs: Path, tmp_path: Path) -> None:
    for name in ("ca.pem", "viewer.pem", "viewer-key.pem"):
        (tmp_path / name).write_bytes((certs / name).read_bytes())
        (tmp_path / name).chmod(0o600)
    cli.env["JOBWORKER_CERTS"] = str(tmp_path)
    assert "admin.pem" in (await cli("list")).stderr
    cli.env["JOBWORKER_ROLE"] = "viewer"
    assert (await cli("list")).code == 0
    assert (await cli("--role", "root", "list")).code == 2


@pytest.mark.parametrize("address", [":50051", "host:", "host:port", "host:0", "a:70000", ""])
async def test_invalid_address_is_reported(cli: Cli, address: str) -> None:
    result = await cli("--server", address, "list")
    assert result.code == 1
    assert "is not HOST:PORT" in result.stderr


async def test_unknown_host_is_reported(cli: Cli) -> None:
    result = await cli("--server", "no-such-host.invalid:50051", "list")
    assert result.code == 1
    assert "cannot reach the server at no-such-host.invalid:50051" in result.stderr


def test_every_connect_failure_has_a_hint() -> None:
    assert set(CONNECT_HINTS) == set(ConnectFailure)
