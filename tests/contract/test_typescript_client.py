"""The TypeScript client against a live server: example, driver, and the program of docs/clients.md."""

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live import Server, until

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PACKAGE = ROOT / "clients/typescript"
NODE: tuple[str | Path, ...] = (ROOT / "tools/node", "node")


@pytest.fixture(scope="session", autouse=True)
def _built() -> None:
    """Compile the package. `make contract` has installed the compiler."""
    subprocess.run([ROOT / "tools/node", "npm", "--prefix", PACKAGE, "run", "build"], check=True, timeout=120)


def environment(server: Server, role: str = "admin") -> dict[str, str]:
    """Return an environment that names the server and a role."""
    variables = {
        "JOBWORKER_SERVER": server.address,
        "JOBWORKER_CERTS": str(server.certs),
        "JOBWORKER_ROLE": role,
    }
    return {**os.environ, **variables}


class Driver:
    """The driver process of the client."""

    def __init__(self, server: Server, role: str) -> None:
        self._process = subprocess.Popen(
            [*NODE, PACKAGE / "dist/test/driver.js"],
            env=environment(server, role),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Run an operation and return the response, `result` or `error`."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps({"op": op, **arguments}), file=self._process.stdin, flush=True)
        response: dict[str, Any] = json.loads(self._process.stdout.readline())
        return response

    def close(self) -> None:
        """Close stdin and wait for the driver to exit."""
        self._process.communicate(timeout=30)
        assert self._process.returncode == 0


@pytest.fixture
def admin_driver(server: Server) -> Iterator[Driver]:
    """A driver with the Admin role."""
    driver = Driver(server, "admin")
    yield driver
    driver.close()


@pytest.fixture
def viewer_driver(server: Server) -> Iterator[Driver]:
    """A driver with the Viewer role."""
    driver = Driver(server, "viewer")
    yield driver
    driver.close()


def test_program_of_the_documentation_runs(server: Server, tmp_path: Path) -> None:
    section = (ROOT / "docs/clients.md").read_text().partition("## TypeScript")[2].partition("\n## ")[0]
    program = "\n".join(re.findall(r"```ts\n(.*?)```", section, re.DOTALL))
    (tmp_path / "page.ts").write_text(program)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    # The links that `npm install DIRECTORY` would create.
    for name, directory in {"@jobworker/client": PACKAGE, "@types": PACKAGE / "node_modules/@types"}.items():
        link = tmp_path / "node_modules" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(directory)
    flags = ["--strict", "--module", "nodenext", "--target", "es2022", "--types", "node"]
    compiler = PACKAGE / "node_modules/.bin/tsc"
    subprocess.run([NODE[0], compiler, *flags, "page.ts"], cwd=tmp_path, check=True, timeout=120)
    done = subprocess.run(
        [*NODE, tmp_path / "page.js"],
        env=environment(server),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    output, result, *listed, error = done.stdout.splitlines()[1:]
    assert {done.stdout.splitlines()[0], output} == {"working", "really"}
    assert result == "FAILED 3"
    assert any(line.endswith(" /bin/sh") for line in listed)
    assert listed[-3:] == ["a", "b", "exit code 0"]
    assert error == "NOT_FOUND no-such-job"


def test_example_resumes_after_an_api_process_is_killed(own_server: Server, job_files: Path) -> None:
    first, second, flag = job_files / "first", job_files / "second", job_files / "flag"
    first.write_bytes(os.urandom(3_000_000))
    second.write_bytes(os.urandom(3_000_000))
    script = f"cat {first}; until [ -e {flag} ]; do sleep 0.05; done; cat {second}; exit 7"
    argv: list[str | Path] = [*NODE, PACKAGE / "dist/examples/run.js", "/bin/sh", "-c", script]
    with subprocess.Popen(argv, env=environment(own_server), stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.read(3_000_000) == first.read_bytes()
        for each in own_server.api_processes():
            each.kill()
        flag.touch()
        assert process.communicate(timeout=60)[0] == second.read_bytes()
    assert process.returncode == 7


def test_stalled_reader_loses_no_output(certs: Path, tmp_path: Path, job_files: Path) -> None:
    data = job_files / "data"
    data.write_bytes(os.urandom(16 * 1024 * 1024))
    with Server.started(BIN, certs, tmp_path / "state", JOBWORKERD_LOG_STALL_TIMEOUT="0.3") as server:
        argv: list[str | Path] = [*NODE, PACKAGE / "dist/examples/run.js", "/bin/cat", data]
        with subprocess.Popen(argv, env=environment(server), stdout=subprocess.PIPE) as process:
            until(lambda: server.has_event("reader stalled"))
            assert process.communicate(timeout=60)[0] == data.read_bytes()
    assert process.returncode == 0


def test_create_wait_get_and_list(admin_driver: Driver) -> None:
    request_id = f"typescript-{uuid.uuid4()}"
    request = {"command": "/bin/cat", "maxMemory": 64, "requestId": request_id, "env": {"A": "B"}}
    created = admin_driver("create", job=request)["result"]
    # At a gateway, the job has not started yet.
    assert created["status"].removeprefix("JOB_STATUS_") in {"RUNNING", "QUEUED", "INITIALIZING"}
    assert admin_driver("create", job=request)["result"]["id"] == created["id"]
    waited = admin_driver("wait", id=created["id"])["result"]
    assert admin_driver("get", id=created["id"])["result"] == waited
    assert created["id"] in admin_driver("list", id_prefix=created["id"][:8], page_size=1)["result"]["ids"]


def test_stop(admin_driver: Driver) -> None:
    job = admin_driver("create", job={"command": "/bin/sleep", "args": ["300"], "maxMemory": 64})["result"]
    assert admin_driver("wait", id=job["id"], deadline=0.1)["error"]["code"] == "DEADLINE_EXCEEDED"
    assert admin_driver("stop", id=job["id"], grace_period=5)["result"]["status"] == "JOB_STATUS_STOPPED"


def test_errors_have_the_details_of_the_server(admin_driver: Driver, viewer_driver: Driver) -> None:
    unknown = admin_driver("get", id="unknown")["error"]
    assert (unknown["code"], unknown["reason"]) == ("NOT_FOUND", "JOB_NOT_FOUND")
    assert unknown["metadata"] == {"job_id": "unknown"}
    wrong = admin_driver("create", job={"command": "/bin/true", "maxCPU": -1})["error"]
    assert (wrong["code"], wrong["reason"]) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert wrong["fields"] == ["max_cpu"]
    denied = viewer_driver("create", job={"command": "/bin/true"})["error"]
    assert (denied["code"], denied["reason"]) == ("PERMISSION_DENIED", "ROLE_REQUIRED")
