"""grpcurl and `buf curl`, which learn the API from the server's reflection."""

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

from jobworker.v1 import job_service_pb2
from live import Server

BIN = Path(sys.executable).parent
SERVICE = "jobworker.v1.JobService"
NOT_FOUND = 5
"""The gRPC status code. `buf curl` exits with eight times the code."""


def identity(server: Server) -> dict[str, Path]:
    """Return the certificate files of the Admin role, by the names of the flags of both programs."""
    return {
        "cacert": server.certs / "ca.pem",
        "cert": server.certs / "admin.pem",
        "key": server.certs / "admin-key.pem",
    }


def grpcurl(server: Server, *arguments: str, data: dict[str, Any] | None = None) -> str:
    """Run grpcurl with arguments after the address, and return its output."""
    flags = [word for name, file in identity(server).items() for word in (f"-{name}", str(file))]
    if data is not None:
        flags += ["-d", json.dumps(data)]
    argv = [str(BIN / "grpcurl"), *flags, server.address, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def messages(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects of a concatenation."""
    decoder, decoded = json.JSONDecoder(), []
    while text := text.lstrip():
        message, end = decoder.raw_decode(text)
        decoded.append(message)
        text = text[end:]
    return decoded


def test_grpcurl_lists_the_services(server: Server) -> None:
    services = grpcurl(server, "list").splitlines()
    assert SERVICE in services
    assert "grpc.health.v1.Health" in services
    assert {f"grpc.reflection.{version}.ServerReflection" for version in ("v1", "v1alpha")} < set(services)
    described = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]
    methods = {method.full_name for method in described.methods}
    assert set(grpcurl(server, "list", SERVICE).splitlines()) == methods


def test_grpcurl_describes_the_service(server: Server) -> None:
    text = grpcurl(server, "describe", SERVICE)
    request, response = ".jobworker.v1.GetJobsStreamRequest", ".jobworker.v1.GetJobsStreamResponse"
    assert f"rpc GetJobsStream ( {request} ) returns ( stream {response} )" in text


@pytest.mark.parametrize(
    "symbol", [f"{SERVICE}.StopJob", "grpc.reflection.v1.ServerReflection", "jobworker.v1.Job"]
)
def test_grpcurl_describes_any_symbol(server: Server, symbol: str) -> None:
    assert grpcurl(server, "describe", symbol).startswith(f"{symbol} is a ")


def test_grpcurl_creates_and_streams_a_job(server: Server) -> None:
    script = "printf one; printf two >&2; exit 3"
    data = {"command": "sh", "args": ["-c", script], "maxCPU": 100, "maxMemory": 64}
    (created,) = messages(grpcurl(server, f"{SERVICE}/CreateJob", data=data))
    job = created["job"]
    assert (job["command"], job["args"], job["maxCPU"], job["maxMemory"]) == ("sh", ["-c", script], 100, 64)

    *chunks, last = messages(grpcurl(server, f"{SERVICE}/GetJobsStream", data={"id": job["id"]}))
    by_source = {chunk["source"]: chunk["payload"] for chunk in chunks}
    # protobuf's JSON mapping encodes bytes as base64.
    assert by_source == {"OUTPUT_SOURCE_STDOUT": "b25l", "OUTPUT_SOURCE_STDERR": "dHdv"}
    assert last["result"]["status"] == "JOB_STATUS_FAILED"
    assert last["result"]["exitCode"] == 3


@pytest.fixture
def buf_env(tmp_path: Path) -> dict[str, str]:
    """An environment with an empty buf cache."""
    return {**os.environ, "HOME": str(tmp_path), "BUF_CACHE_DIR": str(tmp_path / "buf")}


def test_buf_curl_reports_the_error_details(server: Server, buf_env: dict[str, str]) -> None:
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
    # Connect's JSON encodes a detail as base64 without padding.
    decoded = error_details_pb2.ErrorInfo.FromString(base64.b64decode(info["value"] + "=="))
    assert (decoded.reason, decoded.domain) == ("JOB_NOT_FOUND", "jobworker.dev")
