"""Tests of `jobworker list`: pages, filters and formats."""

import json
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from jobworker.v1 import job_pb2
from tests.unit.cli.conftest import Cli, FakeServer, Refusal


def add_many(server: FakeServer, count: int) -> list[str]:
    """Add jobs and return their ids in the order of the server."""
    return [server.add(f"0199f3a0-0000-7000-8000-{number:012}").id for number in range(count)]


async def test_all_pages_are_fetched(cli: Cli, server: FakeServer) -> None:
    ids = add_many(server, 1_234)
    result = await cli("list", "-q")
    assert result.text.splitlines() == ids
    assert len(server.listed) == 3


async def test_limit_bounds_the_page_size(cli: Cli, server: FakeServer) -> None:
    ids = add_many(server, 20)
    result = await cli("list", "-q", "-n", "7")
    assert result.text.splitlines() == ids[:7]
    assert [request.page_size for request in server.listed] == [7]


async def test_filters_are_sent(cli: Cli, server: FakeServer) -> None:
    result = await cli("list", "--status", "running", "-s", "FAILED", "--label", "a=b", "-l", "c=")
    assert result.code == 0, result.stderr
    [request] = server.listed
    assert list(request.statuses) == [job_pb2.JOB_STATUS_RUNNING, job_pb2.JOB_STATUS_FAILED]
    assert dict(request.labels) == {"a": "b", "c": ""}


async def test_filters_by_owner_time_and_command_are_sent(cli: Cli, server: FakeServer) -> None:
    times = ["--since", "2026-03-01T17:04:05.5Z", "--until", "2026-03-01T18:04:05+01:00"]
    result = await cli("list", "--owner", "CN=alice,OU=Admin", *times, "--command", "train.py -v")
    assert result.code == 0, result.stderr
    [request] = server.listed
    assert (request.owner, request.command_contains) == ("CN=alice,OU=Admin", "train.py -v")
    assert request.created_after.ToJsonString() == "2026-03-01T17:04:05.500Z"
    assert request.created_before.ToJsonString() == "2026-03-01T17:04:05Z"


async def test_since_is_a_duration_before_now(cli: Cli, server: FakeServer) -> None:
    await cli("list", "--since", "1h")
    age = datetime.now(UTC) - server.listed[0].created_after.ToDatetime(tzinfo=UTC)
    assert timedelta(hours=1) <= age < timedelta(hours=1, minutes=1)
    assert not server.listed[0].HasField("created_before")


async def test_violations_name_the_options_of_the_filters(cli: Cli, server: FakeServer) -> None:
    fields = dict.fromkeys(("created_after", "created_before", "command_contains", "owner"), "is wrong")
    server.refusals["ListJobs"] = [
        Refusal(grpc.StatusCode.INVALID_ARGUMENT, "no", "INVALID_REQUEST", fields=fields)
    ]
    result = await cli("list")
    assert result.stderr == (
        "error: --since: is wrong; --until: is wrong; --command: is wrong; --owner: is wrong "
        "(INVALID_REQUEST)\n"
    )


@pytest.mark.parametrize(
    "args", [["--status", "gone"], ["--limit", "0"], ["--label", "x"], ["--since", "x"], ["--until", "5 m"]]
)
async def test_invalid_filter_is_a_usage_error(cli: Cli, server: FakeServer, args: list[str]) -> None:
    result = await cli("list", *args)
    assert result.code == 2
    assert not server.listed


async def test_json_is_an_array(cli: Cli, server: FakeServer) -> None:
    ids = add_many(server, 2)
    result = await cli("list", "-o", "json")
    assert [job["id"] for job in json.loads(result.text)] == ids
    empty = await cli("list", "-o", "json", "--status", "lost", "-n", "1")
    assert isinstance(json.loads(empty.text), list)


async def test_table_has_one_line_per_job_and_escapes_control_characters(
    cli: Cli, server: FakeServer
) -> None:
    server.add().args[:] = ["two\nlines", "\x1b]0;title\x07", "\u202ereversed"]
    result = await cli("list")
    head, row = result.text.splitlines()
    assert head.split() == ["ID", "STATUS", "EXIT", "STARTED", "RAN", "COMMAND"]
    assert r"two\nlines" in row
    assert r"\x1b]0;title\x07" in row
    assert r"\u202e" in row
    assert row.split()[1:3] == ["COMPLETED", "0"]


async def test_closed_pipe_is_not_an_error(cli: Cli, server: FakeServer) -> None:
    add_many(server, 2_000)
    process = await cli.start("list", "-o", "json")
    assert process.stdout is not None
    await process.stdout.readline()
    # Like `| head -1`. The reader of asyncio has no public method for it.
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    assert process.stderr is not None
    assert await process.stderr.read() == b""
    assert await process.wait() == -13
