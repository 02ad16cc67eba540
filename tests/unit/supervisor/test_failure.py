"""Messages for a command that cannot be executed."""

import errno

import pytest

from jobworkerd.errors import CommandNotStarted
from jobworkerd.model import JobSpec, Limits, LimitsPolicy
from jobworkerd.spawn import process
from jobworkerd.spawn.exec_protocol import Failed

REMEDY = "isolation.writable_paths"


def message_of(step: str, code: int, command: str, directory: str, *, private: bool = True) -> str:
    spec = JobSpec(
        command=command,
        limits=Limits(max_cpu=100, max_memory=64, max_io_bps=0, max_pids=0),
        limits_policy=LimitsPolicy.BEST_EFFORT,
        stop_signal=15,
        stop_grace_period=1.0,
        owner="test",
        working_directory=directory,
    )
    error = process.error_of(spec, Failed(step, code), private=private)
    assert isinstance(error, CommandNotStarted)
    return str(error)


@pytest.mark.parametrize(
    ("step", "command", "directory"),
    [
        ("exec", "/home/alice/tool", "/"),
        ("exec", "/tmp/tool", "/"),
        ("exec", "./tool", "/home/job"),
        ("exec", "/opt/../var/tmp/tool", "/"),
        ("working_directory", "true", "/dev/shm/data"),
    ],
)
def test_the_error_for_a_missing_file_in_a_private_directory_lists_the_private_directories(
    step: str, command: str, directory: str
) -> None:
    text = message_of(step, errno.ENOENT, command, directory)
    assert "/home, /tmp, /var/tmp and /dev/shm are private to each job" in text
    assert REMEDY in text
    assert REMEDY not in message_of(step, errno.ENOENT, command, directory, private=False)
    assert REMEDY not in message_of(step, errno.EACCES, command, directory)


@pytest.mark.parametrize(
    ("step", "command", "directory"),
    [
        ("exec", "tool", "/home/job"),
        ("exec", "/homes/tool", "/"),
        ("exec", "/opt/tool", "/tmp"),
        ("working_directory", "/tmp/tool", "/opt/data"),
    ],
)
def test_the_error_for_any_other_missing_file_does_not(step: str, command: str, directory: str) -> None:
    assert REMEDY not in message_of(step, errno.ENOENT, command, directory)
