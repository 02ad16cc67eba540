"""The user of the API processes."""

import os
import pwd
from pathlib import Path

import pytest

from jobworkerd.spawn.identity import Identity
from jobworkerd.supervisor import api_user
from jobworkerd.supervisor.api_user import DYNAMIC_ID, NoSuchUser, resolve

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process appear as root in the initial user namespace."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(api_user, "_is_mapped", lambda _number, _table: True)


@pytest.fixture
def alice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process appear as a plain user."""
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY.pw_uid)


@pytest.mark.usefixtures("root")
def test_dynamic_is_an_unused_uid_below_the_uids_of_jobs() -> None:
    assert resolve("dynamic") == Identity(DYNAMIC_ID, DYNAMIC_ID) == Identity(1_899_999_999, 1_899_999_999)
    with pytest.raises(KeyError):
        pwd.getpwuid(DYNAMIC_ID)


@pytest.mark.usefixtures("root")
def test_a_name_resolves_to_the_uid_and_the_first_group() -> None:
    assert resolve("nobody") == Identity(NOBODY.pw_uid, NOBODY.pw_gid)


@pytest.mark.usefixtures("root")
def test_root_stays_root() -> None:
    assert resolve("root") is None


@pytest.mark.usefixtures("alice")
def test_a_server_of_a_plain_user_keeps_its_user() -> None:
    assert resolve("dynamic") is None
    assert resolve("nobody") is None


@pytest.mark.usefixtures("alice")
def test_a_server_of_a_plain_user_cannot_change_the_user() -> None:
    with pytest.raises(
        NoSuchUser, match=r"api\.user: root requires a server that runs as root; set api\.user"
    ):
        resolve("root")


def test_an_unknown_user() -> None:
    with pytest.raises(NoSuchUser, match="this host has no user no-one-at-all"):
        resolve("no-one-at-all")


def test_a_user_namespace_does_not_map_the_uid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "uid_map").write_text("         0     100000      65536\n")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(api_user, "_SELF", tmp_path)
    with pytest.raises(NoSuchUser, match="dynamic has UID 1899999999, which is not mapped"):
        resolve("dynamic")
    (tmp_path / "uid_map").write_text("0 100000 65536\n1899999999 200000 1\n")
    (tmp_path / "gid_map").write_text("0 0 4294967295\n")
    assert resolve("dynamic") == Identity(DYNAMIC_ID, DYNAMIC_ID)
