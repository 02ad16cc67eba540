"""Check commands and arguments at the limits of execve(2), and commands that cannot be executed."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from jobworker.v1 import job_pb2, job_service_pb2
from live_client import Client, refused

SERVICE = "/jobworker.v1.JobService/"
LONGEST_ARGUMENT = 131_071
"""MAX_ARG_STRLEN of execve(2) in bytes, without the terminating NUL."""

FIELD_1 = b"\x0a"
"""Tag of a string in field 1; its length follows (https://protobuf.dev/programming-guides/encoding)."""


async def test_five_thousand_arguments(admin: Client) -> None:
    args = [str(number) for number in range(5_000)]
    job, output = await admin.run("printf", r"%s\n", *args)
    assert output.decode().split() == args
    assert job.args == [r"%s\n", *args]


@pytest.mark.parametrize("size", [100_000, LONGEST_ARGUMENT])
async def test_long_argument(admin: Client, size: int) -> None:
    job, output = await admin.run("printf", "%s", "x" * size)
    assert output == b"x" * size
    assert len(job.args[1]) == size


async def test_argument_above_the_kernel_limit_is_refused(admin: Client) -> None:
    async with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        await admin.create("true", "x" * (LONGEST_ARGUMENT + 1))
    assert refusal.fields == ["args"]
    assert f"use at most {LONGEST_ARGUMENT}" in refusal.message


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"command": "tr\0ue"}, "command"),
        ({"args": ["fine", "not\0fine"]}, "args"),
        ({"working_directory": "/\0"}, "working_directory"),
        ({"env": {"A\0": "x"}}, "env"),
        ({"env": {"A": "\0"}}, "env"),
    ],
)
async def test_nul_is_refused_in_every_string(admin: Client, fields: dict[str, Any], field: str) -> None:
    async with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        await admin.stub.CreateJob(
            job_service_pb2.CreateJobRequest(**{"command": "true", **fields}), timeout=30
        )
    assert refusal.reason == "INVALID_REQUEST"
    assert refusal.fields == [field]
    assert "NUL" in refusal.message


async def test_all_other_text_arrives_unchanged(admin: Client) -> None:
    args = [
        "\n",
        "a\nb\n\n",
        "\r\n",
        "\t",
        "\x01\x7f",
        "\u2028",
        "\ufeff",
        "\U0010ffff",
        "%s",
        "-",
        "--",
        "\\0",
    ]
    env = {"LINES": "1\n2\n", "EQUALS": "a=b=c", "EMPTY": ""}
    script = 'printf "%s\\0" "$@" "$LINES" "$EQUALS" "$EMPTY"'
    job, output = await admin.run("sh", "-c", script, "sh", *args, env=env)
    assert output.decode().split("\0") == [*args, *env.values(), ""]
    assert job.args[3:] == args


@pytest.mark.parametrize("method", ["CreateJob", "GetJob", "ListJobs", "StopJob", "GetJobsStream"])
@pytest.mark.parametrize(
    "request_bytes", [pytest.param(FIELD_1 + b"\2\xff\xfe", id="not UTF-8"), b"\xff", FIELD_1 + b"\x7fcut"]
)
async def test_malformed_request_is_an_invalid_argument(
    admin: Client, method: str, request_bytes: bytes
) -> None:
    """No client library sends these. ListJobs has no string in field 1, so it skips the first ones."""
    if method == "ListJobs" and b"\xfe" in request_bytes:
        request_bytes = b"\x12" + request_bytes[1:]
    async with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        await raw_call(admin, method, request_bytes)
    assert refusal.reason == "INVALID_REQUEST"
    assert refusal.fields == ["request"]


async def test_malformed_request_does_not_bypass_the_policy(viewer: Client) -> None:
    async with refused(grpc.StatusCode.PERMISSION_DENIED):
        await raw_call(viewer, "CreateJob", b"\xff")


async def raw_call(client: Client, method: str, request: bytes) -> None:
    """Call a method with a raw request."""
    if method == "GetJobsStream":
        call = client.channel.unary_stream(SERVICE + method, bytes, bytes)(request, timeout=30)
        async for _ in call:
            raise AssertionError("there is nothing to stream")
    else:
        await client.channel.unary_unary(SERVICE + method, bytes, bytes)(request, timeout=30)


def file(path: Path, text: str, mode: int = 0o755) -> Path:
    """Create a file and return its path."""
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def commands(job_files: Path) -> Path:
    """A directory of files, most of which cannot be executed."""
    file(job_files / "works", '#!/bin/sh\necho "works $*"\n')
    file(job_files / "no-shebang", "echo hi\n")
    file(job_files / "empty", "")
    file(job_files / "no-interpreter", "#!/no/such/interpreter -x\n")
    file(job_files / "not-executable", "#!/bin/sh\n", mode=0o644)
    (job_files / "directory").mkdir()
    return job_files


FAILURES = [
    ("missing", "ENOENT", "No such file"),
    ("no-shebang", "ENOEXEC", "#!/bin/sh"),
    ("empty", "ENOEXEC", "#!/bin/sh"),
    ("no-interpreter", "ENOENT", "interpreter"),
    ("not-executable", "EACCES", "a regular file with execute permission"),
    ("directory", "EACCES", "a regular file with execute permission"),
    ("works/below", "ENOTDIR", "Not a directory"),
]


@pytest.mark.parametrize("how", ["absolute", "relative", "in the PATH"])
@pytest.mark.parametrize(("name", "errno", "why"), FAILURES)
async def test_command_that_cannot_be_executed_has_a_reason(
    admin: Client, commands: Path, how: str, name: str, errno: str, why: str
) -> None:
    async with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        match how:
            case "absolute":
                await admin.create(str(commands / name))
            case "relative":
                await admin.create(f"./{name}", working_directory=str(commands))
            case _:
                path = {"PATH": f"/no/such/directory:{commands}"}
                await admin.create(name, env=path, working_directory=str(commands))
    assert refusal.reason == "COMMAND_NOT_STARTED"
    assert refusal.fields == ["command"]
    assert f"({errno})" in refusal.message
    assert name in refusal.message
    assert why in refusal.message


async def test_relative_command_is_relative_to_the_working_directory(admin: Client, commands: Path) -> None:
    for command in ("./works", "directory/../works", f"../{commands.name}/works"):
        job, output = await admin.run(command, "so far", working_directory=str(commands))
        assert output == b"works so far\n"
        assert job.status == job_pb2.JOB_STATUS_COMPLETED


async def test_name_without_a_slash_is_searched_in_path_only(admin: Client, commands: Path) -> None:
    async with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        await admin.create("works", working_directory=str(commands))
    assert "ENOENT" in refusal.message
    _, output = await admin.run("works", "found", env={"PATH": f"/usr/bin:/bin:{commands}"})
    assert output == b"works found\n"


async def test_missing_working_directory_is_named(admin: Client, commands: Path) -> None:
    for directory, errno in ((commands / "missing", "ENOENT"), (commands / "works", "ENOTDIR")):
        async with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
            await admin.create("true", working_directory=str(directory))
        assert refusal.fields == ["working_directory"]
        assert errno in refusal.message
