"""The service, its processes and its jobs on the machine, for the system and for a user."""

import json
import shlex

from tests.install.machine import Machine

UNIT = "jobworkerd.service"
JOB = "sleep 98765"
USER = "alice"


def pid_of_job(machine: Machine) -> str:
    return machine.output(f"pgrep -fx '{JOB}'")


def pid_of_supervisor(machine: Machine) -> str:
    return machine.eventually("pgrep -f 'jobworkerd[.]supervisor'")


def show(machine: Machine, name: str) -> str:
    return machine.output(f"systemctl show --value -p {name} {UNIT}")


def status(machine: Machine, job_id: str) -> str:
    record: dict[str, str] = json.loads(machine.output(f"jobworker get -o json {job_id}"))
    return record["status"].removeprefix("JOB_STATUS_")


def by_user(machine: Machine, command: str) -> str:
    """Return the output of a command of a user with a service manager."""
    variables = f"HOME=/home/{USER} XDG_RUNTIME_DIR=/run/user/$(id -u {USER})"
    return machine.output(f"runuser -u {USER} -- env {variables} bash -c {shlex.quote(command)}")
