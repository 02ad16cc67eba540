"""What `import jobworker_client` costs: gRPC comes with the first client, and of the two halves only one."""

import json
import subprocess
import sys

import pytest

import jobworker_client

SHOW = "import json, sys; print(json.dumps(sorted(sys.modules)))"


def imported(statement: str) -> set[str]:
    """Returns the modules that a fresh interpreter has imported after a statement."""
    argv = [sys.executable, "-c", f"{statement}\n{SHOW}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return set(found)


def test_errors_and_messages_need_no_grpc() -> None:
    found = imported("from jobworker_client import JobNotFound, Limits, Target, JobStatus")
    assert not found & {"grpc", "asyncio", "ssl", "uuid"}


@pytest.mark.parametrize(
    ("name", "half", "other"),
    [
        ("Client", "aio", "sync"),
        ("Stream", "aio", "sync"),
        ("SyncClient", "sync", "aio"),
        ("SyncStream", "sync", "aio"),
    ],
)
def test_a_half_does_not_import_the_other(name: str, half: str, other: str) -> None:
    found = imported(f"from jobworker_client import {name}")
    assert f"jobworker_client.{half}" in found
    assert f"jobworker_client.{other}" not in found
    assert not found & {"grpc_status", "google.rpc", "pydantic", "cryptography"}


def test_all_public_names_are_there() -> None:
    assert [name for name in jobworker_client.__all__ if not hasattr(jobworker_client, name)] == []
    assert dir(jobworker_client) == sorted(jobworker_client.__all__)
    namespace: dict[str, object] = {}
    exec("from jobworker_client import *", namespace)
    assert set(jobworker_client.__all__) <= set(namespace)


def test_other_names_are_errors() -> None:
    with pytest.raises(AttributeError, match="module 'jobworker_client' has no attribute 'Cleint'"):
        _ = jobworker_client.Cleint  # type: ignore[attr-defined]  # mypy knows, too
