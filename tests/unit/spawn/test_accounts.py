"""The lines of a job's user in the files of accounts."""

import os

import pytest

from jobworkerd.config import IsolationConfig
from jobworkerd.spawn import accounts
from jobworkerd.spawn.users import Users


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_a_job_s_own_user_has_a_group_too() -> None:
    users = Users(IsolationConfig())
    lines = accounts.lines(users.take(), "/home/job", users.widest)
    assert lines == (
        (b"/etc/passwd", b"job:x:1900000000:1900000000::/home/job:/bin/sh\n"),
        (b"/etc/group", b"job:x:1900000000:\n"),
    )


def test_all_users_have_lines_of_the_same_length() -> None:
    users = Users(IsolationConfig(first_uid=99_999, uid_count=2))
    short, long = (accounts.lines(users.take(), "/home/job", users.widest) for _ in range(2))
    assert short[0][1] == b"job:x:99999:99999::/home/job:/bin/sh\n\n\n"
    assert [len(line) for _, line in short] == [len(line) for _, line in long]


def test_a_user_of_the_host_has_another_home() -> None:
    users = Users(IsolationConfig(run_as="nobody"))
    (path, line), *others = accounts.lines(users.take(), "/home/job", users.widest)
    assert path == b"/etc/passwd"
    assert line.startswith(b"nobody:x:65534:65534:nobody:/home/job:")
    assert not others
