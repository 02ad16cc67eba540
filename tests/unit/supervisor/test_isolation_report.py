"""The isolation in the record of a job."""

import errno

import pytest
from msgspec.structs import replace

from jobworkerd import keyring
from jobworkerd.config import IsolationConfig
from jobworkerd.model import Network
from jobworkerd.spawn import isolation, seccomp
from jobworkerd.spawn.identity import Identity
from jobworkerd.spawn.isolation import Isolation
from jobworkerd.spawn.users import User
from jobworkerd.supervisor import isolation_report
from sample_jobs import SPEC as SAMPLE

SPEC = replace(SAMPLE, max_scratch=256)
JOB = User("job", "/", Identity(1_900_000_007, 1_900_000_007, exclusive=True))
ALL = {
    "user",
    "mount_namespace",
    "uts_namespace",
    "ipc_namespace",
    "pid_namespace",
    "no_new_privileges",
    "seccomp",
    "session_keyring",
    "scratch",
}


def test_everything_in_force_has_no_reason() -> None:
    parts = isolation_report.applied(IsolationConfig(), JOB, "", SPEC, {})
    assert {part.part for part in parts} == ALL
    assert all(part.in_force and not part.reason for part in parts)
    assert parts[0].value == "job (1900000007)"


@pytest.mark.parametrize(("seccomp", "refused"), [(True, 0), (False, 0), (True, errno.EINVAL)])
def test_a_scratch_on_disk_requires_the_filter(seccomp: bool, refused: int) -> None:  # noqa: FBT001
    config = IsolationConfig(seccomp=seccomp)
    parts = isolation_report.applied(config, JOB, "", SPEC, {"seccomp": refused} if refused else {})
    *_, scratch = isolation_report.scratch_on_disk(parts)
    assert (scratch.part, scratch.value) == ("scratch", "256 MiB on disk")
    assert scratch.in_force == (seccomp and not refused)
    assert scratch.in_force or "can leave its quota" in scratch.reason


def test_refused_parts_have_a_reason_and_a_remedy() -> None:
    refused = {"mount": errno.EPERM, "pid": errno.ENOSPC, "no_new_privileges": errno.EINVAL}
    parts = isolation_report.applied(IsolationConfig(), JOB, "the server is not root", SPEC, refused)
    found = {part.part: part.reason for part in parts if not part.in_force}
    assert set(found) == {"user", "mount_namespace", "pid_namespace", "no_new_privileges", "scratch"}
    assert "start it as root" in found["mount_namespace"]
    assert "max_*_namespaces" in found["pid_namespace"]


def test_without_its_own_proc_a_job_sees_the_processes_of_the_host() -> None:
    parts = isolation_report.applied(IsolationConfig(), JOB, "", SPEC, {"proc": errno.EPERM})
    (part,) = (part for part in parts if not part.in_force)
    assert part.part == "pid_namespace"
    assert "outside of a container" in part.reason


def test_disabled_parts_are_not_listed() -> None:
    config = IsolationConfig(pid_namespace=False, no_new_privileges=False)
    parts = isolation_report.applied(config, JOB, "", SPEC, {})
    assert {part.part for part in parts} == ALL - {"pid_namespace", "no_new_privileges"}


def test_the_kernel_refuses_the_network_later() -> None:
    parts = isolation_report.applied(IsolationConfig(), JOB, "", replace(SPEC, network=Network.NONE), {})
    assert parts[-1].part == "network"
    assert parts[-1].in_force
    later = [isolation_report.refuse(part, {"network": errno.EPERM}) for part in parts]
    assert [part.in_force for part in later] == [True] * 9 + [False]
    assert later[-1].value == "none"


def test_without_key_quota_a_job_shares_the_servers_keyring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(keyring, "join_new_session", refuse)
    entered = isolation.enter(Isolation(namespaces=(), no_new_privileges=False, nice=0), lambda _: None)
    parts = isolation_report.applied(IsolationConfig(), JOB, "", SPEC, entered.refused)
    (part,) = (part for part in parts if not part.in_force)
    assert part.part == "session_keyring"
    assert "raise kernel.keys.maxkeys" in part.reason


def test_the_record_names_a_writable_path_that_cannot_be_used() -> None:
    config = IsolationConfig(writable_paths=("/srv/a", "/srv/b"))
    parts = isolation_report.applied(config, JOB, "", SPEC, {})
    (part,) = (part for part in parts if part.part == "writable_paths")
    assert (part.in_force, part.value) == (True, "/srv/a, /srv/b")
    parts = isolation_report.applied(config, JOB, "", SPEC, {"writable_paths:1": errno.ENOENT})
    (part,) = (part for part in parts if not part.in_force)
    assert part.reason.startswith("/srv/b: No such file or directory")


@pytest.mark.parametrize(
    ("config", "refused", "why"),
    [
        (IsolationConfig(mount_namespace=False), {}, "an entry requires a mount namespace"),
        (IsolationConfig(), {"mount": errno.EPERM}, "an entry requires a mount namespace"),
        (IsolationConfig(), {"accounts": errno.ENOENT}, "No such file or directory"),
    ],
)
def test_the_record_notes_a_user_without_an_account(
    config: IsolationConfig, refused: dict[str, int], why: str
) -> None:
    (part, *_) = isolation_report.applied(config, JOB, "", SPEC, refused)
    assert part.in_force
    assert part.value == f"job (1900000007), without an entry in /etc/passwd: {why}"


@pytest.mark.parametrize(
    ("privileges", "program", "code", "reason"),
    [
        ("fixed", b"12345678", errno.EINVAL, "boot a kernel with CONFIG_SECCOMP_FILTER"),
        ("fixed", b"12345678", errno.ENOSYS, "boot a kernel with CONFIG_SECCOMP_FILTER"),
        ("fixed", b"", 0, "use x86-64 or 64-bit ARM"),
        ("free", b"12345678", 0, "requires isolation.no_new_privileges"),
    ],
)
def test_a_missing_system_call_filter_has_a_reason(
    monkeypatch: pytest.MonkeyPatch, privileges: str, program: bytes, code: int, reason: str
) -> None:
    def refuse(_: object) -> None:
        raise OSError(code, "the kernel's answer")

    monkeypatch.setattr(seccomp, "_set_filter", refuse)
    monkeypatch.setattr(isolation, "_forbid_privileges", lambda: None)
    wanted = Isolation((), no_new_privileges=privileges == "fixed", nice=0, seccomp=program)
    entered = isolation.enter(wanted, lambda _: None)
    parts = isolation_report.applied(IsolationConfig(), JOB, "", SPEC, entered.refused)
    (part,) = (part for part in parts if not part.in_force)
    assert part.part == "seccomp"
    assert reason in part.reason
