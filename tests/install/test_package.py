"""The files of the Debian package, without an installation."""

import os
import subprocess
from pathlib import Path

from tests.install.conftest import make_package


def test_a_build_can_be_repeated(package: Path, tmp_path: Path) -> None:
    """In another directory, time zone, language and umask."""
    before = os.umask(0o077)
    try:
        again = make_package(tmp_path, TZ="Pacific/Kiritimati", LC_ALL="C.UTF-8")
    finally:
        os.umask(before)
    assert again.name == package.name
    assert again.read_bytes() == package.read_bytes()


def test_lintian_finds_no_fault(package: Path) -> None:
    checked = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", package],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout) == (0, "")
