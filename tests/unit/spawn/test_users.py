"""The users of jobs: one per job, released and reused."""

import os

import pytest

from jobworkerd.config import IsolationConfig
from jobworkerd.spawn.identity import Identity
from jobworkerd.spawn.users import UnknownUser, Users


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.usefixtures("as_root")
def test_each_job_has_a_dedicated_user() -> None:
    users = Users(IsolationConfig(first_uid=5_000, uid_count=3))
    taken = [users.take() for _ in range(3)]
    assert [user.identity for user in taken] == [
        Identity(uid, uid, groups=(), exclusive=True) for uid in (5_000, 5_001, 5_002)
    ]
    assert users.problem == ""
    with pytest.raises(IndexError):
        users.take()


@pytest.mark.usefixtures("as_root")
def test_the_uid_that_was_released_last_is_reused_last() -> None:
    users = Users(IsolationConfig(first_uid=5_000, uid_count=3))
    users.release(users.take())
    assert [users.take().uid for _ in range(3)] == [5_001, 5_002, 5_000]


@pytest.mark.usefixtures("as_root")
def test_the_user_of_a_job_that_runs_already_is_not_given_to_another_job() -> None:
    users = Users(IsolationConfig(first_uid=5_000, uid_count=3))
    claimed = users.claim(5_001)
    assert [users.take().uid for _ in range(2)] == [5_000, 5_002]
    users.release(claimed)
    assert users.take() == claimed


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    "config", [IsolationConfig(first_uid=5_000, uid_count=1), IsolationConfig(run_as="nobody")]
)
def test_a_user_of_an_earlier_configuration_is_not_reused(config: IsolationConfig) -> None:
    users = Users(config)
    claimed = users.claim(7_000)
    assert (claimed.uid, claimed.exclusive) == (7_000, True)
    expected = users.take()
    users.release(claimed)
    users.release(expected)
    assert users.take() == expected


@pytest.mark.usefixtures("as_root")
def test_all_jobs_can_share_a_named_user() -> None:
    users = Users(IsolationConfig(run_as="nobody"))
    user = users.take()
    assert (user.name, user.identity) == ("nobody", Identity(65_534, 65_534, (65_534,)))
    users.release(user)
    assert users.take() == user


@pytest.mark.usefixtures("as_root")
def test_a_named_user_has_the_groups_of_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 4, 27] if name == "nobody" else [])
    identity = Users(IsolationConfig(run_as="nobody")).take().identity
    assert identity
    assert (identity.groups, identity.exclusive) == ((65_534, 4, 27), False)


@pytest.mark.usefixtures("as_root")
def test_an_unknown_user_is_an_error() -> None:
    with pytest.raises(UnknownUser, match="no user 'unknown-user'"):
        Users(IsolationConfig(run_as="unknown-user"))


def test_a_server_without_root_reports_that_jobs_run_as_its_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    users = Users(IsolationConfig())
    assert users.take().identity is None
    assert "not run as root" in users.problem
    assert Users(IsolationConfig(run_as="server")).problem == ""


def test_the_user_of_the_server_can_lack_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    user = Users(IsolationConfig()).take()
    assert (user.name, user.home, user.identity) == ("4000000000", "/", None)
