"""What a state directory that cannot be used tells the administrator."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jobworkerd.logs import hole_punch
from jobworkerd.startup import CannotStart
from jobworkerd.supervisor.state_dir import taken


def failing(number: int) -> Callable[..., None]:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def why(directory: Path) -> str:
    with pytest.raises(CannotStart) as caught, taken(directory, None):
        pass
    return str(caught.value)


def test_a_full_disk_is_called_full_and_no_other_file_system_advised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hole_punch, "check", failing(errno.ENOSPC))
    assert why(tmp_path) == (
        f"{tmp_path}/jobs cannot hold the state (No space left on device); "
        "free some space there, or choose a directory on another disk with --state-dir"
    )


def test_a_file_system_without_holes_is_to_be_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hole_punch, "check", failing(errno.EOPNOTSUPP))
    assert "choose a directory on another with --state-dir: ext4" in why(tmp_path)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sentence = why(tmp_path / "file" / "state")
    assert sentence.endswith(
        "cannot hold the state (Not a directory); choose another directory with --state-dir"
    )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_is_full_before_the_first_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(Path, "mkdir", failing(number))
    assert "free some space there" in why(tmp_path)
    monkeypatch.undo()


def test_the_directory_is_one_servers(tmp_path: Path) -> None:
    with taken(tmp_path, None):
        assert why(tmp_path).startswith(f"another server uses {tmp_path};")
