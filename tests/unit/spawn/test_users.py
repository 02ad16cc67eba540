"""Whom jobs run as: a user each, given back and not taken again at once."""

import os

import pytest

from jobworkerd.config import IsolationConfig
from jobworkerd.spawn.isolation import Identity
from jobworkerd.spawn.users import UnknownUser, Users


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.usefixtures("as_root")
def test_each_job_has_a_user_of_its_own() -> None:
    users = Users(IsolationConfig(first_uid=5_000, uid_count=3))
    taken = [users.take() for _ in range(3)]
    assert [user.identity for user in taken] == [
        Identity(uid, uid, groups=(), exclusive=True) for uid in (5_000, 5_001, 5_002)
    ]
    assert users.problem == ""
    with pytest.raises(IndexError):
        users.take()


@pytest.mark.usefixtures("as_root")
def test_a_user_that_was_given_back_is_taken_last() -> None:
    users = Users(IsolationConfig(first_uid=5_000, uid_count=3))
    users.give_back(users.take())
    assert [users.take().uid for _ in range(3)] == [5_001, 5_002, 5_000]


@pytest.mark.usefixtures("as_root")
def test_a_user_by_name() -> None:
    users = Users(IsolationConfig(run_as="nobody"))
    user = users.take()
    assert (user.name, user.identity) == ("nobody", Identity(65_534, 65_534, (65_534,)))
    users.give_back(user)
    assert users.take() == user


@pytest.mark.usefixtures("as_root")
def test_a_user_by_name_has_the_groups_of_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 4, 27] if name == "nobody" else [])
    identity = Users(IsolationConfig(run_as="nobody")).take().identity
    assert identity
    assert (identity.groups, identity.exclusive) == ((65_534, 4, 27), False)


@pytest.mark.usefixtures("as_root")
def test_a_user_who_does_not_exist_is_an_error() -> None:
    with pytest.raises(UnknownUser, match="no user 'nobody-at-all'"):
        Users(IsolationConfig(run_as="nobody-at-all"))


def test_a_server_that_is_not_root_says_why_its_jobs_are_its_own_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    users = Users(IsolationConfig())
    assert users.take().identity is None
    assert "not run as root" in users.problem
    assert Users(IsolationConfig(run_as="server")).problem == ""


def test_a_server_whose_user_has_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    user = Users(IsolationConfig()).take()
    assert (user.name, user.home, user.identity) == ("4000000000", "/", None)
