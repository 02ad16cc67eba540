"""Error messages for a state directory that cannot be used."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jobworkerd.logs import hole_punch
from jobworkerd.spawn.identity import Identity
from jobworkerd.startup import CannotStart
from jobworkerd.supervisor.state_dir import locked_state_dir


def failing(number: int) -> Callable[..., None]:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def problem(directory: Path) -> str:
    with pytest.raises(CannotStart) as caught, locked_state_dir(directory, None):
        pass
    return str(caught.value)


def test_the_message_for_a_full_disk_suggests_no_other_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hole_punch, "check", failing(errno.ENOSPC))
    assert problem(tmp_path) == (
        f"{tmp_path}/jobs cannot contain the state (No space left on device); "
        "free some space there, or choose a directory on another disk with --state-dir"
    )


def test_a_file_system_without_hole_punching_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hole_punch, "check", failing(errno.EOPNOTSUPP))
    assert "choose a directory on ext4, XFS, Btrfs or tmpfs with --state-dir" in problem(tmp_path)


def test_the_message_names_a_directory_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = problem(tmp_path / "file" / "state")
    assert message.endswith(
        "cannot contain the state (Not a directory); choose another directory with --state-dir"
    )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_the_disk_is_full_before_the_first_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(Path, "mkdir", failing(number))
    assert "free some space there" in problem(tmp_path)
    monkeypatch.undo()


def test_only_one_server_uses_the_directory(tmp_path: Path) -> None:
    with locked_state_dir(tmp_path, None):
        assert problem(tmp_path).startswith(f"another server uses {tmp_path};")


@pytest.mark.root
def test_earlier_logs_are_shared_with_another_user(tmp_path: Path) -> None:
    log = tmp_path / "jobs/job/output.log"
    log.parent.mkdir(parents=True)
    log.touch()
    for user, group in ((Identity(12_345, 12_345), 12_345), (None, os.getegid())):
        with locked_state_dir(tmp_path, user):
            assert {path.stat().st_gid for path in (log, log.parent, log.parent.parent)} == {group}


def test_another_supervisor_of_the_server_starts_on_a_broken_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked_state_dir(tmp_path, None) as first:
        monkeypatch.setattr(hole_punch, "check", failing(errno.ENOSPC))
        monkeypatch.setattr(Path, "chmod", failing(errno.EROFS))
        with locked_state_dir(tmp_path, None, os.dup(first.lock)) as second:
            assert second.jobs == first.jobs
