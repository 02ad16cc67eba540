"""Tests of the modules that a command line imports, because imports dominate the start-up time."""

import json
import subprocess
import sys

from tests.unit.cli.conftest import Cli, FakeServer, finished

PROGRAM = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
from jobworker_cli.main import main
main()
"""

# typer before 0.29 does not need pydantic. An environment with it is outdated; run `make setup`.
NEVER = {"pydantic", "rich", "cryptography", "typing_inspection", "click", "opentelemetry"}
WITH_A_SERVER = {"grpc", "google.protobuf", "asyncio", "ssl", "jobworker_client", "jobworker.v1.job_pb2"}
ON_DEMAND = {
    "google.protobuf.json_format",
    "google.rpc",
    "grpc_status",
    "jobworker_client.sync",
    "tempfile",
    "tomllib",
}


def imported(stderr: str) -> set[str]:
    """Return the modules in the last line that `PROGRAM` printed."""
    modules: list[str] = json.loads(stderr.splitlines()[-1])
    return set(modules)


def test_help_does_not_import_grpc() -> None:
    for words in (["--help"], ["run", "--help"], ["context", "--help"]):
        argv = [sys.executable, "-c", PROGRAM, *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert not imported(done.stderr) & (NEVER | WITH_A_SERVER | ON_DEMAND)


async def test_list_imports_only_used_modules(cli: Cli) -> None:
    result = await finished(await cli.start("list", program=("-c", PROGRAM)))
    assert result.code == 0, result.stderr
    found = imported(result.stderr)
    assert found >= WITH_A_SERVER
    assert not found & (NEVER | ON_DEMAND)


async def test_other_modules_are_imported_on_demand(cli: Cli, server: FakeServer) -> None:
    result = await finished(await cli.start("get", "-o", "json", "nope", program=("-c", PROGRAM)))
    assert "JOB_NOT_FOUND" in result.stderr
    server.add()
    result = await finished(await cli.start("list", "-o", "json", program=("-c", PROGRAM)))
    assert "google.protobuf.json_format" in imported(result.stderr)
