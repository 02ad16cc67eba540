"""The Go client against a live server: its example, its driver, and the program of docs/clients.md."""

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from live import Server, until

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "clients/go"
GO = ROOT / "tools/go"

pytestmark = pytest.mark.timeout(600)
"""In seconds. The first build compiles gRPC."""


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the compiled example, `run`, and `driver`."""
    directory = tmp_path_factory.mktemp("go")
    build: list[str | Path] = [GO, "-C", MODULE, "build", "-buildvcs=false", "-o", f"{directory}/"]
    subprocess.run([*build, "./examples/run", "./internal/driver"], check=True)
    return directory


def env(server: Server, **more: str) -> dict[str, str]:
    """Return an environment that names the server."""
    return {**os.environ, "JOBWORKER_SERVER": server.address, "JOBWORKER_CERTS": str(server.certs), **more}


def drive(programs: Path, server: Server, *operations: dict[str, Any], **more: str) -> list[dict[str, Any]]:
    """Run the driver and return its responses."""
    lines = "".join(json.dumps(operation) + "\n" for operation in operations)
    done = subprocess.run(
        [programs / "driver"],
        input=lines,
        env=env(server, **more),
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_binary_output_is_unchanged(programs: Path, server: Server, job_files: Path) -> None:
    data = os.urandom(4 << 20)
    (job_files / "data").write_bytes(data)
    job = {"command": "cat", "args": [str(job_files / "data")], "maxCPU": 100, "maxMemory": 64}
    (created,) = drive(programs, server, {"op": "create", "job": job})
    job_id = created["result"]["id"]
    streamed, tail, cancelled = drive(
        programs,
        server,
        {"op": "stream", "id": job_id},
        {"op": "stream", "id": job_id, "tail_bytes": 1000},
        {"op": "stream", "id": job_id, "cancel_after_bytes": 1},
    )
    result = streamed["result"]
    assert result["sha256"] == hashlib.sha256(data).hexdigest()
    assert (result["begin"], result["end"], result["bytes"]) == (0, len(data), len(data))
    assert (result["job"]["status"], result["job"]["exitCode"]) == ("JOB_STATUS_COMPLETED", 0)
    assert tail["result"]["sha256"] == hashlib.sha256(data[-1000:]).hexdigest()
    assert tail["result"]["begin"] == len(data) - 1000
    assert 0 < cancelled["result"]["bytes"] < len(data)
    assert cancelled["result"]["job"] is None


def test_example_resumes_after_an_api_process_is_killed(
    programs: Path, own_server: Server, job_files: Path
) -> None:
    flag = job_files / "flag"
    script = 'echo first; while ! [ -e "$0" ]; do sleep 0.05; done; seq 20000; echo last >&2; exit 7'
    argv: list[str | Path] = [programs / "run", "sh", "-c", script, flag]
    with subprocess.Popen(argv, env=env(own_server), stdout=-1, stderr=-1) as running:
        assert running.stdout
        assert running.stderr
        assert running.stdout.readline() == b"first\n"
        (killed,) = own_server.api_processes()
        killed.kill()
        killed.wait()
        flag.touch()
        assert running.stdout.read() == b"".join(b"%d\n" % number for number in range(1, 20001))
        assert running.stderr.read() == b"last\n"
    assert running.returncode == 7


def test_calls_are_retried_after_an_api_process_is_killed(programs: Path, own_server: Server) -> None:
    job = {"command": "sleep", "args": ["600"], "maxMemory": 64, "labels": {"client": "go"}}
    with subprocess.Popen(
        [programs / "driver"], env=env(own_server), stdin=-1, stdout=-1, text=True
    ) as driver:

        def run(**operation: Any) -> Any:
            assert driver.stdin
            assert driver.stdout
            driver.stdin.write(json.dumps(operation) + "\n")
            driver.stdin.flush()
            return json.loads(driver.stdout.readline()).get("result")

        first = run(op="create", job=job)
        (killed,) = own_server.api_processes()
        killed.kill()
        # On a busy host the restart can take longer than the retries of one call.
        second = until(lambda: run(op="create", job={**job, "requestId": "second"}))
        assert run(op="list", labels={"client": "go"}, page_size=1) == {"ids": [second["id"], first["id"]]}
        assert run(op="stop", id=first["id"], grace_period=0)["termination"]["signalName"] == "SIGKILL"
        assert run(op="stop", id=second["id"])["status"] == "JOB_STATUS_STOPPED"
        assert run(op="wait", id=second["id"])["termination"]["reason"] == "TERMINATION_REASON_STOPPED"
        assert driver.stdin
        driver.stdin.close()


def test_errors_have_the_details_of_the_server(programs: Path, server: Server) -> None:
    unknown, bad, late = drive(
        programs,
        server,
        {"op": "get", "id": "unknown"},
        {"op": "create", "job": {"command": "true", "maxCPU": -1}},
        {"op": "list", "deadline": 1e-9},
    )
    assert unknown["error"]["code"] == "NOT_FOUND"
    assert unknown["error"]["reason"] == "JOB_NOT_FOUND"
    assert unknown["error"]["metadata"] == {"job_id": "unknown"}
    assert (bad["error"]["code"], bad["error"]["fields"]) == ("INVALID_ARGUMENT", ["max_cpu"])
    assert late["error"]["code"] == "DEADLINE_EXCEEDED"
    viewer = {"JOBWORKER_ROLE": "viewer"}
    denied, allowed = drive(
        programs, server, {"op": "create", "job": {"command": "true"}}, {"op": "list"}, **viewer
    )
    assert (denied["error"]["code"], denied["error"]["reason"]) == ("PERMISSION_DENIED", "ROLE_REQUIRED")
    assert "result" in allowed


def test_interrupted_example_stops_its_job(programs: Path, server: Server) -> None:
    script = "trap 'echo stopped; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen([programs / "run", "sh", "-c", script], env=env(server), stdout=-1) as running:
        assert running.stdout
        assert running.stdout.readline() == b"ready\n"
        running.terminate()
    assert running.returncode == 9


def test_program_of_the_documentation_runs(server: Server, tmp_path: Path) -> None:
    section = (ROOT / "docs/clients.md").read_text().partition("\n## Go\n")[2].partition("\n## ")[0]
    (install,) = re.findall(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    program, _ = re.findall(r"^```go\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    (tmp_path / "jobworker").symlink_to(ROOT)
    app = tmp_path / "app"
    app.mkdir()
    (app / "main.go").write_text(program)
    (app / "go.mod").write_text("module app\n")
    root = subprocess.run([GO, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    shell = env(server, PATH=f"{root}/bin:{os.environ['PATH']}")
    subprocess.run(["sh", "-ec", install], cwd=app, env=shell, check=True)
    done = subprocess.run(
        ["sh", "-ec", "go run ."], cwd=app, env=shell, capture_output=True, text=True, check=True
    )
    *lines, code, unknown = done.stdout.splitlines()
    assert lines == ["line 1", "line 2", "line 3"]
    assert code == "exit code 3"
    assert unknown.endswith("(JOB_NOT_FOUND)")
    assert subprocess.run([GO, "gofmt", "-l", app], capture_output=True, check=True).stdout == b""
