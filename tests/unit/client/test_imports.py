"""Tests of the modules that `import jobworker_client` loads: gRPC only with the first client."""

import json
import subprocess
import sys

import pytest

import jobworker_client

SHOW = "import json, sys; print(json.dumps(sorted(sys.modules)))"


def imported(statement: str) -> set[str]:
    """Return the modules that a statement imports in a new interpreter."""
    argv = [sys.executable, "-c", f"{statement}\n{SHOW}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    modules: list[str] = json.loads(done.stdout)
    return set(modules)


def test_errors_and_messages_do_not_import_grpc() -> None:
    found = imported("from jobworker_client import JobNotFound, Limits, ClientConfig, JobStatus")
    assert not found & {"grpc", "asyncio", "ssl", "uuid"}


@pytest.mark.parametrize(
    ("name", "package", "other"),
    [
        ("Client", "aio", "sync"),
        ("JobStream", "aio", "sync"),
        ("SyncClient", "sync", "aio"),
        ("SyncJobStream", "sync", "aio"),
    ],
)
def test_client_does_not_import_the_other_client(name: str, package: str, other: str) -> None:
    found = imported(f"from jobworker_client import {name}")
    assert f"jobworker_client.{package}" in found
    assert f"jobworker_client.{other}" not in found
    assert not found & {"grpc_status", "google.rpc", "pydantic", "cryptography"}


def test_public_names_exist() -> None:
    assert [name for name in jobworker_client.__all__ if not hasattr(jobworker_client, name)] == []
    assert dir(jobworker_client) == sorted(jobworker_client.__all__)
    namespace: dict[str, object] = {}
    exec("from jobworker_client import *", namespace)
    assert set(jobworker_client.__all__) <= set(namespace)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'jobworker_client' has no attribute 'Cleint'"):
        _ = jobworker_client.Cleint  # type: ignore[attr-defined]  # mypy reports it too
