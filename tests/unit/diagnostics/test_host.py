"""Findings of `doctor` for cgroup trees of plain files and for this host."""

import json
import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from jobworkerd.cgroup import mounts
from jobworkerd.cgroup.controllers import CONTROLLERS
from jobworkerd.config import Config, IoConfig
from jobworkerd.diagnostics import host
from jobworkerd.diagnostics.host import CgroupLocation
from jobworkerd.model import Limits

ALL = "cpuset cpu io memory hugetlb pids"


def make_cgroup(
    path: Path, *, controllers: str = ALL, enabled: str = "", procs: str = "", root: bool = False
) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "cgroup.controllers").write_text(controllers + "\n")
    (path / "cgroup.subtree_control").write_text(enabled + "\n")
    (path / "cgroup.procs").write_text(procs)
    if not root:
        (path / "cgroup.type").write_text("domain\n")
        (path / "cgroup.kill").touch()
    return path


def make_proc(path: Path, mount: Path | None, own: str = "/", v1: Iterable[str] = ()) -> Path:
    lines = [f"31 23 0:28 / {mount} rw,relatime - cgroup2 cgroup2 rw"] if mount else []
    (path / "self").mkdir(parents=True)
    (path / "self/mountinfo").write_text("\n".join(lines))
    held = [f"{number}:{name}:/" for number, name in enumerate(v1, 1)]
    (path / "self/cgroup").write_text("\n".join([*held, f"0::{own}"]))
    return path


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    return make_cgroup(tmp_path / "cgroup", root=True, procs="1\n")


def problems(mount: Path, base: Path) -> set[str]:
    return {host.controller_problem(controller, CgroupLocation(mount, base)) for controller in CONTROLLERS}


def test_a_new_base_below_the_root_has_all_controllers(mount: Path) -> None:
    assert problems(mount, mount / "job-worker") == {""}


def test_controllers_that_are_enabled_above_are_available_below(mount: Path) -> None:
    make_cgroup(mount, root=True, enabled=ALL)
    make_cgroup(mount / "a.slice")
    assert problems(mount, mount / "a.slice" / "job-worker") == {""}


def test_the_server_leaves_a_base_that_it_is_in(mount: Path) -> None:
    make_cgroup(mount, root=True, enabled=ALL)
    assert problems(mount, make_cgroup(mount / "unit.service", procs="42\n")) == {""}


def test_a_parent_cgroup_with_processes_is_named(mount: Path) -> None:
    make_cgroup(mount, root=True, enabled=ALL)
    busy = make_cgroup(mount / "busy", procs="42\n")
    (problem,) = {problem.replace(name, "X") for name, problem in _each(mount, busy / "job-worker")}
    assert problem.startswith(f"the X controller cannot be enabled in {busy}, which contains processes")


def test_a_controller_that_is_not_delegated_is_named_with_the_fix(mount: Path) -> None:
    make_cgroup(mount, root=True, enabled="memory pids")
    scope = make_cgroup(mount / "scope", controllers="memory pids")
    found = dict(_each(mount, scope))
    assert (found["memory"], found["pids"]) == ("", "")
    make_cgroup(mount, root=True, enabled=ALL)
    found = dict(_each(mount, scope))
    assert "cpu controller is" in found["cpu"]
    assert "; " in found["cpu"]


def _each(mount: Path, base: Path) -> list[tuple[str, str]]:
    return [(name, host.controller_problem(name, CgroupLocation(mount, base))) for name in CONTROLLERS]


def test_without_cgroup2_all_limits_have_that_reason(tmp_path: Path) -> None:
    proc = make_proc(tmp_path / "proc", None)
    found = host.diagnose(Config(certs_dir=str(tmp_path)), proc=proc)
    reasons = {each.text for each in found if each.section == host.LIMITS}
    assert len(reasons) == 1
    assert reasons.pop().startswith("cgroup v2 is not mounted")
    assert not any(each.ok for each in found if each.section in {"cgroups", host.LIMITS})


def test_the_base_is_below_the_mount(tmp_path: Path, mount: Path) -> None:
    proc = make_proc(tmp_path / "proc", mount)
    assert host.locate_base("/sys/fs/cgroup/job-worker", proc) == CgroupLocation(mount, mount / "job-worker")
    assert not (mount / "job-worker").exists()


def test_a_base_outside_of_the_mount_is_a_problem(tmp_path: Path, mount: Path) -> None:
    location = host.locate_base("/srv/jobs", make_proc(tmp_path / "proc", mount))
    assert location.base is None
    assert "is not a directory below" in location.problem


def test_a_user_without_access_to_the_base_gets_the_delegated_cgroup(
    tmp_path: Path, mount: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = make_cgroup(mount / "user.slice" / "run.scope")
    monkeypatch.setattr(os, "access", lambda path, _: own in (path, *Path(path).parents))
    proc = make_proc(tmp_path / "proc", mount, own="/user.slice/run.scope")
    assert host.locate_base("/sys/fs/cgroup/job-worker", proc) == CgroupLocation(mount, own, delegated=True)
    found = {each.name: each for each in host.diagnose(Config(certs_dir=str(tmp_path)), proc=proc)}
    assert found["delegation"].text == f"{own} is delegated to this user and replaces cgroup_base"


def test_a_user_without_any_access_gets_the_command_to_start_the_server(
    tmp_path: Path, mount: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_cgroup(mount / "user.slice")
    monkeypatch.setattr(os, "access", lambda *_: False)
    proc = make_proc(tmp_path / "proc", mount, own="/user.slice")
    location = host.locate_base("/sys/fs/cgroup/job-worker", proc)
    assert location.base is None
    assert "start the server as root, or with `systemd-run" in location.problem


@pytest.fixture
def manager(tmp_path: Path, mount: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cgroup of this user's service manager, from which `doctor` runs in a session scope."""
    monkeypatch.setattr(os, "getuid", lambda: 1)  # the account `daemon`
    monkeypatch.setattr(host, "_LINGERING", tmp_path)
    for cgroup in (mount / "user.slice", mount / "user.slice/user-1.slice"):
        make_cgroup(cgroup, enabled="cpu memory pids")
    make_cgroup(mount, root=True, enabled=ALL)
    make_cgroup(mount / "user.slice/user-1.slice/session-1.scope")
    own = make_cgroup(mount / "user.slice/user-1.slice/user@1.service", controllers="cpu memory pids")
    monkeypatch.setattr(os, "access", lambda path, _: own in (path, *Path(path).parents))
    return own


def test_a_user_with_a_service_manager_gets_the_command_to_start_the_service(
    tmp_path: Path, mount: Path, manager: Path
) -> None:
    proc = make_proc(tmp_path / "proc", mount, own="/user.slice/user-1.slice/session-1.scope")
    location = host.locate_base("/sys/fs/cgroup/job-worker", proc)
    assert location == CgroupLocation(mount, manager, delegated=True, manager=True)
    found = {each.name: each for each in host.diagnose(Config(certs_dir=str(tmp_path)), proc=proc)}
    assert "systemctl --user start jobworkerd" in found["delegation"].text
    assert (found["cpu"].ok, found["max_memory"].ok) == (True, True)
    assert not found["io"].ok
    assert "Delegate=cpu cpuset io memory pids" in found["io"].text
    assert found["linger"].text.endswith("loginctl enable-linger daemon")
    (tmp_path / "daemon").touch()
    found = {each.name: each for each in host.diagnose(Config(certs_dir=str(tmp_path)), proc=proc)}
    assert found["linger"].ok


@pytest.mark.parametrize(
    ("v1", "ok", "text"),
    [
        ((), True, "v2, at MOUNT"),
        (("name=systemd",), True, "v2, at MOUNT"),
        (("net_cls",), True, "hybrid: cgroup v2 at MOUNT; cgroup v1 holds net_cls"),
        (
            ("cpu", "blkio"),
            False,
            (
                "hybrid: cgroup v2 at MOUNT; cgroup v1 holds cpu, io; "
                "boot with systemd.unified_cgroup_hierarchy=1 (or cgroup_no_v1=all)"
            ),
        ),
    ],
)
def test_layout(tmp_path: Path, mount: Path, v1: tuple[str, ...], *, ok: bool, text: str) -> None:
    proc = make_proc(tmp_path / "proc", mount, v1=v1)
    (layout, *_) = host.diagnose(Config(certs_dir=str(tmp_path)), proc=proc)
    assert (layout.ok, layout.text) == (ok, text.replace("MOUNT", str(mount)))


def test_a_kernel_without_the_files_of_a_limit(tmp_path: Path, mount: Path) -> None:
    proc = make_proc(tmp_path / "proc", mount)
    config = Config(certs_dir=str(tmp_path))
    system = make_cgroup(mount / "system.slice")
    for file in ("cpu.weight", "io.stat"):
        (system / file).touch()
    found = {each.name: each for each in host.diagnose(config, proc=proc)}
    assert "CONFIG_CFS_BANDWIDTH" in found["max_cpu"].text
    assert "CONFIG_BLK_DEV_THROTTLING" in found["max_io_iops"].text
    assert found["cpu_weight"].ok
    (system / "cpu.max").touch()
    found = {each.name: each for each in host.diagnose(config, proc=proc)}
    assert found["max_cpu"].ok


def test_each_missing_kernel_feature_has_a_fix(tmp_path: Path, mount: Path) -> None:
    proc = make_proc(tmp_path / "proc", mount)
    config = Config(certs_dir=str(tmp_path))
    found = {each.name: each for each in host.diagnose(config, proc=proc) if each.section == "kernel"}
    assert list(found) == ["release", "pidfd_open", "cgroup.kill", "memory.peak", "pids.peak", "PSI"]
    assert (found["PSI"].ok, found["PSI"].text) == (
        False,
        "boot a kernel with CONFIG_PSI and psi=1 for pressure figures",
    )
    (proc / "pressure").mkdir()
    assert {each.name: each for each in host.diagnose(config, proc=proc)}["PSI"].ok


def test_a_path_without_a_device_names_the_setting_to_correct(tmp_path: Path, mount: Path) -> None:
    proc = make_proc(tmp_path / "proc", mount)
    config = Config(certs_dir=str(tmp_path), io=IoConfig(devices=("/dev/none", "/proc")))
    found = {each.name: each for each in host.diagnose(config, proc=proc)}
    assert (
        found["/dev/none"].text == "/dev/none has no device (No such file or directory); correct io.devices"
    )
    assert "/proc is on proc, not on a block device" in found["/proc"].text
    assert not found["max_io_bps"].ok


def test_certificates_are_in_the_report(certs: Path, tmp_path: Path, mount: Path) -> None:
    proc = make_proc(tmp_path / "proc", mount)
    found = {each.name: each for each in host.diagnose(Config(certs_dir=str(certs)), proc=proc)}
    assert (found["server.pem"].ok, found["server.pem"].text) == (True, "server, 364 days left")
    (certs / "server.pem").unlink()
    found = {each.name: each for each in host.diagnose(Config(certs_dir=str(certs)), proc=proc)}
    assert not found["server"].ok
    assert "jobworkerd certs init" in found["server"].text


Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_doctor_on_this_host_changes_nothing(run: Run, certs: Path) -> None:
    mount = mounts.cgroup2_mount()
    before = set(mount.iterdir()) if mount else set()
    result = run("doctor", "--certs-dir", certs, "-o", "json")
    limits = [each for each in json.loads(result.stdout) if each["section"] == "limits"]
    assert [each["name"] for each in limits] == [*Limits.__struct_fields__, "containment"]
    assert result.returncode == (0 if all(each["ok"] for each in limits) else 1)
    assert {path for path in (mount.iterdir() if mount else ()) if path.name == "job-worker"} <= before


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_depends_on_the_limits_only(
    run: Run, monkeypatch: pytest.MonkeyPatch, *, ok: bool, code: int
) -> None:
    found = [
        host.Finding("certificates", "server", ok=False, text="missing"),
        host.Finding("limits", "max_cpu", ok=ok, text="why"),
    ]
    monkeypatch.setattr(host, "diagnose", lambda _: found)
    result = run("doctor")
    assert result.returncode == code
    mark = "ok" if ok else "NO"
    assert result.stdout == (
        f"certificates\n  NO  server         missing\n\nlimits\n  {mark}  max_cpu        why\n"
    )
