"""Which modules a command line imports: start-up takes as long as they do."""

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

# typer before 0.29 needs no pydantic: an environment that has it is older than the lock file (make setup).
NEVER = {"pydantic", "rich", "cryptography", "typing_inspection", "click"}
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
    """Returns the modules that a run of `PROGRAM` has printed last."""
    found: list[str] = json.loads(stderr.splitlines()[-1])
    return set(found)


def test_help_imports_nothing_of_grpc() -> None:
    for words in (["--help"], ["run", "--help"], ["context", "--help"]):
        argv = [sys.executable, "-c", PROGRAM, *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert not imported(done.stderr) & (NEVER | WITH_A_SERVER | ON_DEMAND)


async def test_a_list_imports_what_it_uses(cli: Cli) -> None:
    result = await finished(await cli.start("list", program=("-c", PROGRAM)))
    assert result.code == 0, result.stderr
    found = imported(result.stderr)
    assert found >= WITH_A_SERVER
    assert not found & (NEVER | ON_DEMAND)


async def test_what_is_left_out_comes_when_it_is_needed(cli: Cli, server: FakeServer) -> None:
    result = await finished(await cli.start("get", "-o", "json", "nope", program=("-c", PROGRAM)))
    assert "JOB_NOT_FOUND" in result.stderr
    server.add()
    result = await finished(await cli.start("list", "-o", "json", program=("-c", PROGRAM)))
    assert "google.protobuf.json_format" in imported(result.stderr)
