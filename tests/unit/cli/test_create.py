"""Tests of `jobworker create`: the request for a command line, and the output."""

import json
from datetime import timedelta
from uuid import UUID

import pytest

from jobworker.v1 import job_pb2
from tests.unit.cli.conftest import JOB_ID, Cli, FakeServer


@pytest.mark.parametrize(
    ("args", "command"),
    [
        (["ping", "-c", "5", "google.com"], ["ping", "-c", "5", "google.com"]),
        (["ls", "-la", "/tmp"], ["ls", "-la", "/tmp"]),
        (["bash", "-c", "echo -o $i; exit"], ["bash", "-c", "echo -o $i; exit"]),
        (["grep", "--help", "-q", "-o", "json"], ["grep", "--help", "-q", "-o", "json"]),
        (["--", "ls", "--", "-q"], ["ls", "--", "-q"]),
        (["--max-cpu", "5", "--", "--odd"], ["--odd"]),
        (["echo", "", "ü ✓"], ["echo", "", "ü ✓"]),
    ],
)
async def test_options_end_at_the_first_word_of_the_command(
    cli: Cli, server: FakeServer, args: list[str], command: list[str]
) -> None:
    result = await cli("create", *args)
    assert result.code == 0, result.stderr
    [request] = server.created
    assert [request.command, *request.args] == command


async def test_every_option_is_sent(cli: Cli, server: FakeServer) -> None:
    cli.env["FROM_HERE"] = "x=y"
    result = await cli(
        "create", "--max-memory=1024", "--max-cpu=25", "--max-io-bps", "1048576", "--max-pids=7",
        "--max-io-iops=500", "--cpu-weight=200", "--cpu-set=0-1,3",
        "-w", "/tmp", "-e", "A=1=2", "--env", "FROM_HERE", "-e", "EMPTY=", "--timeout", "1h30m",
        "-l", "team=a", "--label", "empty=", "--stop-signal", "INT", "--stop-grace-period", "250ms",
        "--request-id", "mine", "--strict", "ping", "-c", "100", "google.com",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    [request] = server.created
    assert (request.max_memory, request.max_cpu) == (1024, 25)
    assert (request.max_io_bps, request.max_pids) == (1_048_576, 7)
    assert (request.max_io_iops, request.cpu_weight, request.cpu_set) == (500, 200, "0-1,3")
    assert request.working_directory == "/tmp"
    assert dict(request.env) == {"A": "1=2", "FROM_HERE": "x=y", "EMPTY": ""}
    assert dict(request.labels) == {"team": "a", "empty": ""}
    assert request.timeout.ToTimedelta() == timedelta(hours=1.5)
    assert request.stop_grace_period.ToTimedelta() == timedelta(milliseconds=250)
    assert (request.stop_signal, request.request_id) == ("INT", "mine")
    assert request.limits_policy == job_pb2.LIMITS_POLICY_STRICT


async def test_omitted_options_are_not_sent(cli: Cli, server: FakeServer) -> None:
    await cli("create", "true")
    [request] = server.created
    set_fields = {field.name for field, _ in request.ListFields()}
    assert set_fields == {"command", "request_id"}
    assert UUID(request.request_id).version == 4


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "COMMAND"),
        (["--max-cpu=-1", "true"], "--max-cpu"),
        (["--max-cpu=x", "true"], "--max-cpu"),
        (["--max-memory=99999999", "true"], "--max-memory"),
        (["--timeout", "soon", "true"], "'soon' is not a duration"),
        (["--env", "NOT_SET_HERE", "true"], "NOT_SET_HERE is not set in the local"),
        (["--env", "=x", "true"], "'=x' is not KEY=VALUE"),
        (["--label", "x", "true"], "'x' is not KEY=VALUE"),
        (["--no-such-option", "true"], "--no-such-option"),
        (["printf", b"\xff".decode("utf-8", "surrogateescape")], "is not UTF-8"),
    ],
)
async def test_invalid_command_line_sends_no_request(
    cli: Cli, server: FakeServer, args: list[str], message: str
) -> None:
    result = await cli("create", *args)
    assert result.code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == b""
    assert not server.created


async def test_quiet_prints_only_the_id(cli: Cli, server: FakeServer) -> None:
    result = await cli("create", "-q", "true")
    assert result.text == f"{JOB_ID}\n"
    assert result.stderr == ""
    assert server.created


async def test_json_has_the_documented_names(cli: Cli, server: FakeServer) -> None:
    async def create(_: object) -> job_pb2.Job:
        job = server.add(max_cpu=25, max_memory=64)
        job.start_time.FromJsonString("2026-03-01T12:00:00Z")
        return job

    server.creating = create
    result = await cli("create", "-o", "json", "true")
    job = json.loads(result.text)
    assert job["id"] == JOB_ID
    assert (job["maxCPU"], job["maxMemory"], job["maxIOBPS"]) == (25, 64, "0")
    assert (job["status"], job["exitCode"]) == ("JOB_STATUS_COMPLETED", 0)
    assert job["startTime"] == "2026-03-01T12:00:00Z"
    assert job["args"] == []


async def test_details_quote_the_command_for_a_shell(cli: Cli, server: FakeServer) -> None:
    result = await cli("create", "sh", "-c", "echo 'a b'; printf '\\e[31m\x1b[31m'")
    assert """sh -c 'echo '"'"'a b'"'"'; printf '"'"'\\e[31m\\x1b[31m'"'"''""" in result.text
    assert "\x1b" not in result.text
    assert server.created
