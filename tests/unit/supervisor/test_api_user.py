"""Whom the API processes run as."""

import os
import pwd
from pathlib import Path

import pytest

from jobworkerd.supervisor import api_user
from jobworkerd.supervisor.api_user import DYNAMIC_ID, NoSuchUser, User, resolve

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as one of root's in the first user namespace."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(api_user, "_is_mapped", lambda _number, _table: True)


@pytest.fixture
def alice(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as one of a user's."""
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY.pw_uid)


@pytest.mark.usefixtures("root")
def test_dynamic_is_an_id_below_those_of_the_jobs_that_nobody_has() -> None:
    assert resolve("dynamic") == User(DYNAMIC_ID, DYNAMIC_ID) == User(1_899_999_999, 1_899_999_999)
    with pytest.raises(KeyError):
        pwd.getpwuid(DYNAMIC_ID)


@pytest.mark.usefixtures("root")
def test_a_users_name_is_his_id_and_his_first_group() -> None:
    assert resolve("nobody") == User(NOBODY.pw_uid, NOBODY.pw_gid)


@pytest.mark.usefixtures("root")
def test_root_stays_root() -> None:
    assert resolve("root") is None


@pytest.mark.usefixtures("alice")
def test_a_server_that_is_not_roots_keeps_its_user() -> None:
    assert resolve("dynamic") is None
    assert resolve("nobody") is None


@pytest.mark.usefixtures("alice")
def test_a_server_that_is_not_roots_cannot_take_another_user() -> None:
    with pytest.raises(NoSuchUser, match=r"cannot run as root unless the server runs as root; set api\.user"):
        resolve("root")


def test_a_user_whom_this_host_does_not_have() -> None:
    with pytest.raises(NoSuchUser, match='this host has no user "no-one-at-all"'):
        resolve("no-one-at-all")


def test_a_user_namespace_without_the_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "uid_map").write_text("         0     100000      65536\n")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(api_user, "_SELF", tmp_path)
    with pytest.raises(NoSuchUser, match="user namespace that has no id 1899999999"):
        resolve("dynamic")
    (tmp_path / "uid_map").write_text("0 100000 65536\n1899999999 200000 1\n")
    (tmp_path / "gid_map").write_text("0 0 4294967295\n")
    assert resolve("dynamic") == User(DYNAMIC_ID, DYNAMIC_ID)
