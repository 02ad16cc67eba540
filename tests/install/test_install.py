"""The life of the Debian package on a machine with systemd: each test continues where the previous one ended.

Run them with `make test-install`, which stops at the first failure.
"""

import json

import pytest

from tests.docs.pages import blocks
from tests.install.completion import complete
from tests.install.conftest import ADDRESS, EVENT_OF_THE_UPGRADE, LINE_OF_THE_UPGRADE, ROOT
from tests.install.machine import Machine
from tests.install.service import JOB, UNIT, USER, by_user, pid_of_job, pid_of_supervisor, show, status

SETTINGS = "/etc/job-worker/config.toml"
SETTINGS_LINK = "/opt/job-worker/config.toml"
# Worse hardening of the unit than today's fails; systemd-analyze takes tenths.
MOST_EXPOSURE = 80
# dpkg asks what to do with settings that both the user and the new package have changed.
KEEP_SETTINGS = "-o Dpkg::Options::=--force-confold"
NOT_OF_THE_PACKAGE = (
    "/host",
    "/dev",
    "/proc",
    "/run",
    "/sys",
    "/tmp",
    "/var/cache",
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/lib/systemd/random-seed",
    "/var/log",
    "/var/tmp",
)
FILES = f"find / {' '.join(f'-path {path} -prune -o' for path in NOT_OF_THE_PACKAGE)} -print | sort"
USERS_COMMAND = "jobworker --server localhost:50052 --certs ~/.config/job-worker/certs"
BACKUPS = "/var/tmp"
IN_BACKUPS = f"set -e; cd {BACKUPS}\n"


@pytest.fixture(scope="module")
def job(machine: Machine) -> str:
    """The id of a job that runs until the machine restarts."""
    job_id = machine.output(f"jobworker create --quiet --max-memory=16 {JOB}")
    assert pid_of_job(machine)
    return job_id


@pytest.fixture(scope="module")
def in_backup(machine: Machine) -> dict[str, str]:
    """A completed and a running job by status, on a server with changed settings."""
    machine.run(f"sed -i 's/^#max_jobs = 500/max_jobs = 7/' {SETTINGS}")
    completed = machine.output("jobworker create --quiet --max-memory=16 echo in the backup")
    machine.run(f"jobworker wait {completed}")
    return {
        "COMPLETED": completed,
        "RUNNING": machine.output(f"jobworker create --quiet --max-memory=16 {JOB}"),
    }


def documented(word: str) -> str:
    """Return the commands of docs/operations.md that contain a word."""
    (code,) = (each.code for each in blocks(ROOT / "docs/operations.md") if word in each.code)
    return code


def test_installation_starts_the_service(machine: Machine) -> None:
    machine.run(f"{FILES} >/host/files-before")
    machine.run("apt-get install -y /host/first.deb")
    assert machine.output(f"systemctl is-enabled {UNIT}") == "enabled"
    assert machine.output(f"systemctl is-active {UNIT}") == "active"
    assert machine.output("jobworker --version").startswith("jobworker ")


def test_certificates_have_the_names_of_the_host_and_private_keys(machine: Machine) -> None:
    assert machine.output("hostname -f; hostname -I").split() == ["worker.example.org", ADDRESS]
    shown = machine.output("jobworkerd certs show")
    assert f"worker.example.org, localhost, 127.0.0.1, ::1, {ADDRESS}\n" in shown
    modes = machine.output("stat -c '%a %U' /opt/job-worker/certs/*-key.pem").splitlines()
    assert modes == ["600 root"] * 4


def test_root_has_a_context_of_an_admin(machine: Machine) -> None:
    assert machine.output("jobworker context list").split() == ["*", "admin", "localhost:50051"]


@pytest.mark.parametrize("service", ["", "limits", "certificates"])
def test_health(machine: Machine, service: str) -> None:
    assert machine.output(f"jobworkerd health {service}") == "SERVING"


def test_job_has_its_limit_below_the_unit(machine: Machine) -> None:
    of_job = "/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/memory.max"
    assert machine.output(f"jobworker run --max-memory=64 sh -c 'cat {of_job}'") == "67108864"
    cgroup = machine.output("jobworker run cat /proc/self/cgroup")
    assert cgroup.startswith(f"0::/system.slice/{UNIT}/jobs/")


def test_stop_and_start(machine: Machine) -> None:
    machine.run(f"systemctl stop {UNIT}")
    assert machine.run(f"systemctl is-active {UNIT}", check=False).stdout.strip() == "inactive"
    machine.run(f"systemctl start {UNIT}")
    machine.run("jobworker list")


def test_systemd_finds_no_fault_in_the_unit(machine: Machine) -> None:
    verified = machine.run(f"systemd-analyze verify {UNIT}")
    assert verified.stdout + verified.stderr == ""
    machine.run(f"systemd-analyze security --threshold={MOST_EXPOSURE} {UNIT}")


def test_the_dashboard_serves_after_its_setup(machine: Machine) -> None:
    unit = "jobworkerd-dashboard.service"
    assert machine.run(f"systemctl is-enabled {unit}", check=False).stdout.strip() == "disabled"
    machine.run("jobworkerd certs issue dashboard --role delegate")
    machine.run("sed -i 's|^#url = .*|url = \"http://127.0.0.1:8080\"|' /etc/job-worker/dashboard.toml")
    machine.run(f"systemctl start {unit}")
    machine.eventually(
        "python3 -c 'import urllib.request as r; print(r.urlopen(\"http://127.0.0.1:8080/\").headers)'"
        " | grep require-trusted-types-for"
    )
    machine.run("jobworker dashboard login --url http://127.0.0.1:8080")
    assert machine.output(f"systemctl show --value -p User {unit}") != "root"
    machine.run(f"systemd-analyze security --threshold=30 {unit}; systemctl stop {unit}")
    machine.run("cd /opt/job-worker/certs && rm dashboard.pem dashboard-key.pem")


@pytest.mark.parametrize("page", ["1 jobworker", "8 jobworkerd", "5 jobworkerd-config"])
def test_man_page(machine: Machine, page: str) -> None:
    shown = machine.run(f"man --warnings {page}")
    assert shown.stderr == ""
    assert shown.stdout.startswith("JOBWORKER")


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_completion(machine: Machine, shell: str) -> None:
    assert complete(machine, shell, "jobworker stre") == {"stream"}
    assert complete(machine, shell, "jobworkerd serv") == {"serve"}


def test_job_continues_over_a_reload(machine: Machine, job: str) -> None:
    pid, supervisor, keeper = pid_of_job(machine), pid_of_supervisor(machine), show(machine, "MainPID")
    machine.run(f"systemctl reload {UNIT}")
    machine.eventually(f"! kill -0 {supervisor} 2>/dev/null && jobworker get {job}")
    assert pid_of_job(machine) == pid
    assert status(machine, job) == "RUNNING"
    assert show(machine, "MainPID") == keeper


def test_job_continues_over_an_upgrade_that_keeps_changed_settings(machine: Machine, job: str) -> None:
    pid, keeper = pid_of_job(machine), show(machine, "MainPID")
    machine.run(f"sed -i 's/^#level = .*/level = \"debug\"/' {SETTINGS}")
    machine.run(f"apt-get install -y {KEEP_SETTINGS} /host/upgrade.deb")
    machine.eventually(f"journalctl -u {UNIT} -o cat | grep '{EVENT_OF_THE_UPGRADE}'")
    assert pid_of_job(machine) == pid
    assert status(machine, job) == "RUNNING"
    assert show(machine, "MainPID") == keeper
    assert show(machine, "NRestarts") == "0"
    assert f'level = "debug"  # file {SETTINGS_LINK}' in machine.output("jobworkerd config")
    assert LINE_OF_THE_UPGRADE in machine.output(f"cat {SETTINGS}.dpkg-dist")


def test_job_continues_over_a_downgrade(machine: Machine, job: str) -> None:
    pid, supervisor = pid_of_job(machine), pid_of_supervisor(machine)
    machine.run(f"apt-get install -y --allow-downgrades {KEEP_SETTINGS} /host/first.deb")
    machine.eventually(f"! kill -0 {supervisor} 2>/dev/null && jobworker get {job}")
    assert pid_of_job(machine) == pid
    assert status(machine, job) == "RUNNING"
    last = machine.output(f"journalctl -u {UNIT} -o cat | grep '\"serving' | tail -n 1")
    assert json.loads(last)["event"] == "serving"


def test_job_continues_over_a_failed_upgrade(machine: Machine, job: str) -> None:
    """dpkg calls the script in this way if the new version cannot be unpacked."""
    pid = pid_of_job(machine)
    machine.run("/var/lib/dpkg/info/jobworker.postinst abort-upgrade 0.1.0-2")
    machine.eventually(f"jobworker get {job}")
    assert pid_of_job(machine) == pid


def test_job_continues_after_a_killed_supervisor(machine: Machine, job: str) -> None:
    pid, supervisor = pid_of_job(machine), pid_of_supervisor(machine)
    machine.run(f"kill -KILL {supervisor}")
    machine.eventually(f"jobworker get {job}")
    assert pid_of_supervisor(machine) != supervisor
    assert pid_of_job(machine) == pid
    assert status(machine, job) == "RUNNING"


def test_history_outlives_a_reboot(machine: Machine, job: str) -> None:
    done = machine.output("jobworker create --quiet --max-memory=16 echo before the reboot")
    machine.run(f"jobworker wait {done}")
    machine.reboot()
    machine.eventually("jobworker list")
    assert machine.output(f"jobworker stream --no-follow {done}") == "before the reboot"
    assert status(machine, done) == "COMPLETED"
    assert status(machine, job) == "STOPPED"


def test_systemd_restarts_a_killed_server(machine: Machine) -> None:
    lost = machine.output(f"jobworker create --quiet --max-memory=16 {JOB}")
    machine.run(f"systemctl kill --kill-who=main -s KILL {UNIT}")
    machine.eventually("jobworker list")
    assert status(machine, lost) == "LOST"
    assert machine.run(f"pgrep -fx '{JOB}'", check=False).code == 1


def test_watchdog_restarts_a_stopped_server(machine: Machine) -> None:
    assert show(machine, "WatchdogUSec") == "1min"
    directory = f"/run/systemd/system/{UNIT}.d"
    machine.run(f"mkdir {directory}; printf '[Service]\\nWatchdogSec=6\\n' >{directory}/watchdog.conf")
    machine.run(f"systemctl daemon-reload; systemctl restart {UNIT}; sleep 15")
    assert show(machine, "NRestarts") == "0"
    machine.run(f"kill -STOP {show(machine, 'MainPID')}")
    machine.eventually(f"[ $(systemctl show --value -p NRestarts {UNIT}) = 1 ] && jobworker list")
    machine.run(f"rm -r {directory}; systemctl daemon-reload")


def test_removal_stops_the_service_and_keeps_the_state(machine: Machine) -> None:
    job_id = machine.output(f"jobworker create --quiet --max-memory=16 {JOB}")
    machine.run("apt-get remove -y jobworker")
    assert machine.run("pgrep -f job-worker", check=False).stdout == ""
    assert machine.output(f"systemctl show --value -p LoadState {UNIT}") in {"not-found", "masked"}
    assert machine.output("ls /opt/job-worker") == "certs\nstate"
    machine.run(f"! [ -e /sys/fs/cgroup/system.slice/{UNIT} ]")
    machine.run("apt-get install -y /host/first.deb")
    machine.eventually("jobworker list")
    assert status(machine, job_id) == "STOPPED"


def test_documented_backup(machine: Machine, in_backup: dict[str, str]) -> None:
    machine.run(f"{IN_BACKUPS}{documented('sqlite3')}")
    assert machine.output(f"{IN_BACKUPS} stat -c %a backup backup/state/jobworker.db") == "700\n600"
    assert status(machine, in_backup["RUNNING"]) == "RUNNING"


def test_purge_leaves_nothing(machine: Machine) -> None:
    machine.run("apt-get purge -y jobworker")
    machine.run(f"{FILES} >/host/files-after")
    before, after = ((machine.shared / f"files-{when}").read_text() for when in ("before", "after"))
    assert sorted({*after.split("\n")} - {*before.split("\n")}) == []
    assert machine.output(f"systemctl show --value -p LoadState {UNIT}") == "not-found"
    assert machine.run("dpkg -s jobworker", check=False).code == 1


def test_documented_restore(machine: Machine, in_backup: dict[str, str]) -> None:
    machine.run("apt-get install -y /host/first.deb")
    machine.run(f"{IN_BACKUPS}{documented('cp -a backup')}")
    machine.eventually("jobworker list")
    assert machine.output(f"jobworker stream --no-follow {in_backup['COMPLETED']}") == "in the backup"
    assert status(machine, in_backup["COMPLETED"]) == "COMPLETED"
    assert status(machine, in_backup["RUNNING"]) == "LOST"
    assert "max_jobs = 7  # file" in machine.output("jobworkerd config")
    machine.run(f"cmp /opt/job-worker/certs/ca.pem {BACKUPS}/backup/certs/ca.pem")


def test_service_of_a_user_has_all_limits_and_isolation(machine: Machine) -> None:
    by_user(machine, "jobworkerd certs init --host localhost")
    by_user(machine, "echo 'listen = \"127.0.0.1:50052\"' >~/.config/job-worker/config.toml")
    by_user(machine, "systemd-analyze verify --user jobworkerd.service && systemctl --user start jobworkerd")
    script = "id -un; cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/memory.max; tail -n +3 /proc/net/dev"
    job = f"{USERS_COMMAND} run --strict --max-memory=64 --network none sh -c '{script}'"
    name, memory, interface, *rest = by_user(machine, job).split()
    assert (name, memory, interface) == (USER, "67108864", "lo:")
    assert rest == ["0"] * 16


def test_job_does_not_reach_the_files_and_services_of_its_user(machine: Machine) -> None:
    assert by_user(machine, "systemd-run --user --quiet --wait --pipe echo reached") == "reached"
    variables = "XDG_RUNTIME_DIR=/run/user/$(id -u)"
    attack = (
        f"{variables} systemd-run --user --quiet --wait --pipe echo reached; cat /home/{USER}/.config/*/*"
    )
    output = by_user(machine, f"{USERS_COMMAND} run --max-memory=64 sh -c '{attack}' 2>&1 || true")
    assert "Failed to connect to bus" in output
    assert "reached" not in output
    assert "listen" not in output


def test_doctor_tells_a_user_what_is_missing(machine: Machine) -> None:
    findings = json.loads(by_user(machine, "jobworkerd doctor --output json || true"))
    missing = {each["name"]: each["text"] for each in findings if not each["ok"]}
    # The kernel of the machine has neither the cpuset controller nor PSI.
    assert {*missing} == {"cpuset", "cpu_set", "PSI", "io", "max_io_bps", "max_io_iops"}
    assert "Delegate=cpu cpuset io memory pids" in missing["max_io_bps"]
    machine.run("sysctl -w kernel.unprivileged_userns_clone=0")
    findings = json.loads(by_user(machine, "jobworkerd doctor --output json || true"))
    machine.run("sysctl -w kernel.unprivileged_userns_clone=1")
    (mount,) = (each["text"] for each in findings if each["name"] == "mount_namespace")
    assert "kernel.unprivileged_userns_clone = 1" in mount


def test_service_of_a_user_leaves_nothing(machine: Machine) -> None:
    by_user(machine, "systemctl --user stop jobworkerd")
    assert machine.run(f"pgrep -u {USER} -f jobworkerd", check=False).code == 1
    assert machine.output("find /sys/fs/cgroup/user.slice -name 'jobworkerd*'") == ""
    by_user(machine, "rm -r ~/.config ~/.local")
