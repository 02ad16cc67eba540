"""Clients that know nothing of this project but its server's reflection: grpcurl and buf curl."""

import base64
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from google.rpc import error_details_pb2

from live import Server

BIN = Path(sys.executable).parent
SERVICE = "jobworker.v1.JobService"
NOT_FOUND = 5
"""The number of the gRPC status; `buf curl` exits with eight times it."""


def identity(server: Server) -> dict[str, Path]:
    """Returns the files of the role Admin, under the names of both programs' flags."""
    return {
        "cacert": server.certs / "ca.pem",
        "cert": server.certs / "admin.pem",
        "key": server.certs / "admin-key.pem",
    }


def grpcurl(server: Server, *words: str, data: dict[str, Any] | None = None) -> str:
    """Returns what grpcurl prints; flags come before the address, words behind it."""
    flags = [word for name, file in identity(server).items() for word in (f"-{name}", str(file))]
    if data is not None:
        flags += ["-d", json.dumps(data)]
    argv = [str(BIN / "grpcurl"), *flags, server.address, *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def messages(text: str) -> list[dict[str, Any]]:
    """Returns the JSON objects that stand one behind the other."""
    decoder, found = json.JSONDecoder(), []
    while text := text.lstrip():
        message, end = decoder.raw_decode(text)
        found.append(message)
        text = text[end:]
    return found


def test_grpcurl_lists_the_services(server: Server) -> None:
    services = grpcurl(server, "list").splitlines()
    assert SERVICE in services
    assert "grpc.health.v1.Health" in services
    assert {f"grpc.reflection.{version}.ServerReflection" for version in ("v1", "v1alpha")} < set(services)
    methods = {"CreateJob", "GetJob", "ListJobs", "StopJob", "UpdateJob", "GetJobsStream"}
    assert set(grpcurl(server, "list", SERVICE).splitlines()) == {f"{SERVICE}.{name}" for name in methods}


def test_grpcurl_describes_the_service(server: Server) -> None:
    text = grpcurl(server, "describe", SERVICE)
    request, response = ".jobworker.v1.GetJobsStreamRequest", ".jobworker.v1.GetJobsStreamResponse"
    assert f"rpc GetJobsStream ( {request} ) returns ( stream {response} )" in text


@pytest.mark.parametrize(
    "symbol", [f"{SERVICE}.StopJob", "grpc.reflection.v1.ServerReflection", "jobworker.v1.Job"]
)
def test_grpcurl_describes_any_symbol(server: Server, symbol: str) -> None:
    assert grpcurl(server, "describe", symbol).startswith(f"{symbol} is a ")


def test_grpcurl_creates_a_job_and_streams_it(server: Server) -> None:
    script = "printf one; printf two >&2; exit 3"
    data = {"command": "sh", "args": ["-c", script], "maxCPU": 100, "maxMemory": 64}
    (created,) = messages(grpcurl(server, f"{SERVICE}/CreateJob", data=data))
    job = created["job"]
    assert (job["command"], job["args"], job["maxCPU"], job["maxMemory"]) == ("sh", ["-c", script], 100, 64)

    *chunks, last = messages(grpcurl(server, f"{SERVICE}/GetJobsStream", data={"id": job["id"]}))
    by_source = {chunk["source"]: chunk["payload"] for chunk in chunks}
    # JSON has bytes as base64.
    assert by_source == {"OUTPUT_SOURCE_STDOUT": "b25l", "OUTPUT_SOURCE_STDERR": "dHdv"}
    assert last["result"]["status"] == "JOB_STATUS_FAILED"
    assert last["result"]["exitCode"] == 3


@pytest.fixture
def buf_env(tmp_path: Path) -> dict[str, str]:
    """An environment in which buf keeps its cache to itself."""
    return {**os.environ, "HOME": str(tmp_path), "BUF_CACHE_DIR": str(tmp_path / "buf")}


def test_buf_curl_sees_the_error_and_its_details(server: Server, buf_env: dict[str, str]) -> None:
    job_id = str(uuid.uuid4())
    flags = [word for name, file in identity(server).items() for word in (f"--{name}", str(file))]
    argv = [str(BIN / "buf"), "curl", "--protocol", "grpc", *flags, "--data", json.dumps({"id": job_id})]
    argv.append(f"https://{server.address}/{SERVICE}/GetJob")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=buf_env)
    assert done.returncode == 8 * NOT_FOUND, done.stderr
    error = json.loads(done.stderr)
    assert error["code"] == "not_found"
    assert job_id in error["message"]
    (info,) = [detail for detail in error["details"] if detail["type"] == "google.rpc.ErrorInfo"]
    # In Connect's JSON a detail is base64 without its padding.
    read = error_details_pb2.ErrorInfo.FromString(base64.b64decode(info["value"] + "=="))
    assert (read.reason, read.domain) == ("JOB_NOT_FOUND", "jobworker.v1")
