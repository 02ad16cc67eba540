"""The check of `isolation.writable_paths`."""

from pathlib import Path

import pytest

from jobworkerd.config import Config, IsolationConfig, ScratchConfig
from jobworkerd.spawn import writable_paths
from jobworkerd.spawn.writable_paths import UnusablePath


def config(tmp_path: Path, *paths: str | Path) -> Config:
    return Config(
        state_dir=str(tmp_path / "state"),
        certs_dir=str(tmp_path / "certs"),
        scratch=ScratchConfig(directory=str(tmp_path / "scratch")),
        isolation=IsolationConfig(writable_paths=tuple(map(str, paths))),
    )


def test_a_directory_or_a_link_to_one_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "link").symlink_to("results")
    writable_paths.check(config(tmp_path, tmp_path / "results", tmp_path / "link", "/tmp", tmp_path))


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("missing", "No such file or directory"),
        ("file", "is not a directory"),
        ("file/below", "Not a directory"),
        ("loop", "cannot be used"),
        ("state", "which jobs cannot see (state_dir)"),
        ("link", "which jobs cannot see (certs_dir)"),
        ("scratch", "which jobs cannot see (scratch.directory)"),
        ("/", "is the whole system"),
        ("/home", "hides the private home"),
    ],
)
def test_any_other_path_is_an_error_that_names_it(tmp_path: Path, path: str, problem: str) -> None:
    for directory in ("state", "certs/results", "scratch"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link").symlink_to("certs/results")
    with pytest.raises(UnusablePath) as caught:
        writable_paths.check(config(tmp_path, tmp_path / path))
    assert str(caught.value).startswith(f"isolation.writable_paths: {tmp_path / path} ")
    assert problem in str(caught.value)
