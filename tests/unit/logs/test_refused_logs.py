"""Jobs that are refused because their output could not be stored."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobworkerd.errors import HostExhausted
from jobworkerd.logs.store import NEXT, LogStore
from tests.unit.logs.stores import OUT, UNBOUNDED, no_error, store


def statvfs(**changes: int) -> Callable[[Path], object]:
    """Return a statvfs(3) for a disk that differs from the real one."""
    real = os.statvfs

    def call(path: Path) -> object:
        found = real(path)
        values = {name: getattr(found, name) for name in ("f_blocks", "f_bfree", "f_flag")}
        return SimpleNamespace(**{**values, **changes})

    return call


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"f_flag": os.ST_RDONLY}, "Read-only file system"), ({"f_bfree": 0}, "No space left on device")],
)
def test_a_job_is_refused_if_its_output_could_not_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, int], error: str
) -> None:
    with store(tmp_path) as logs:
        logs.prepare()
        with monkeypatch.context() as patch:
            patch.setattr(os, "statvfs", statvfs(**changes))
            with pytest.raises((OSError, HostExhausted), match=error):
                logs.open("job")
        assert [entry.name for entry in tmp_path.iterdir()] == [NEXT]
        logs.open("job").append(OUT, memoryview(b"the disk works again"), 1)


def test_a_file_system_without_a_size_has_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with store(tmp_path) as logs, monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", statvfs(f_blocks=0, f_bfree=0))
        logs.open("job")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO])
def test_a_broken_disk_exhausts_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with store(tmp_path) as logs:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "mkdir", failing(number))
            with pytest.raises(HostExhausted, match=f"cannot be created: {os.strerror(number)}"):
                logs.open("job")
        logs.open("job")


def test_a_prepared_log_that_cannot_be_removed_is_not_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LogStore(tmp_path, UNBOUNDED, UNBOUNDED, no_error).prepare()
    logs = LogStore(tmp_path, UNBOUNDED, UNBOUNDED, lambda _: None)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", failing(errno.EROFS))
        logs.prepare()
        with pytest.raises(HostExhausted, match="Read-only file system"):
            logs.open("job")
    logs.open("job")
    logs.discard("job")


def failing(number: int) -> Callable[..., None]:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail
