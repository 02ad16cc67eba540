"""The entries for a job's user in the account files."""

import os

import pytest

from jobworkerd.config import IsolationConfig
from jobworkerd.spawn import accounts
from jobworkerd.spawn.users import Users


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_a_dedicated_user_has_a_group() -> None:
    users = Users(IsolationConfig())
    entries = accounts.entries(users.take(), "/home/job", users.widest)
    assert entries == (
        (b"/etc/passwd", b"job:x:1900000000:1900000000::/home/job:/bin/sh\n"),
        (b"/etc/group", b"job:x:1900000000:\n"),
    )


def test_the_entries_of_all_users_have_the_same_length() -> None:
    users = Users(IsolationConfig(first_uid=99_999, uid_count=2))
    short, long = (accounts.entries(users.take(), "/home/job", users.widest) for _ in range(2))
    assert short[0][1] == b"job:x:99999:99999::/home/job:/bin/sh\n\n\n"
    assert [len(line) for _, line in short] == [len(line) for _, line in long]


def test_a_host_user_has_the_private_home() -> None:
    users = Users(IsolationConfig(run_as="nobody"))
    (path, line), *others = accounts.entries(users.take(), "/home/job", users.widest)
    assert path == b"/etc/passwd"
    assert line.startswith(b"nobody:x:65534:65534:nobody:/home/job:")
    assert not others
