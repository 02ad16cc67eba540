"""Check that each subcommand outlasts a restart of the supervisor."""

import contextlib
import json
import signal

import psutil
from restarts import supervisor

from jobworker_command import LIMITS, Jobworker
from live import Server, until

SLOW = "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo $i; sleep 0.05; done; exit 7"
LINES = "".join(f"{number}\n" for number in range(1, 41))


def kill_supervisor(server: Server) -> None:
    """Kill the supervisor, or the next one if none runs at the moment."""

    def find() -> psutil.Process | None:
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            return supervisor(server)
        return None

    until(find).kill()


def during_a_restart(server: Server, *args: str) -> str:
    """Kill the supervisor, run a command, and return its stdout."""
    kill_supervisor(server)
    return Jobworker(server).printed(*args)


def test_calls_succeed(own_server: Server) -> None:
    command = Jobworker(own_server)
    job_id = command.create("true")
    command.printed("wait", job_id)
    assert during_a_restart(own_server, "list", "-q") == f"{job_id}\n"
    shown = json.loads(during_a_restart(own_server, "get", "-o", "json", job_id))
    assert shown["status"] == "JOB_STATUS_COMPLETED"
    assert job_id in during_a_restart(own_server, "stop", job_id)
    assert during_a_restart(own_server, "delete", job_id) == f"{job_id}\n"
    created = during_a_restart(own_server, "create", "-q", *LIMITS, "true")
    assert command.printed("list", "-q") == created, "a repeated create starts one job"
    command.printed("wait", created.strip())
    assert during_a_restart(own_server, "prune", "--older-than", "0", "--yes") == created


def test_calls_for_a_running_job_succeed(own_server: Server) -> None:
    job_id = Jobworker(own_server).create("sleep", "600")
    updated = json.loads(during_a_restart(own_server, "update", "-o", "json", "--max-pids", "33", job_id))
    assert updated["maxPids"] == 33
    assert job_id in during_a_restart(own_server, "top", "--once", "-i", "100ms")
    assert "STOPPED" in during_a_restart(own_server, "stop", "--now", job_id)


def test_run_prints_each_line_once(own_server: Server) -> None:
    with Jobworker(own_server).started("run", *LIMITS, "sh", "-c", SLOW) as process:
        assert process.stdout
        first = process.stdout.readline()
        kill_supervisor(own_server)
        rest, messages = process.communicate(timeout=60)
    assert (first + rest).decode() == LINES
    assert process.returncode == 7
    assert all(line.startswith(b"jobworker: ") for line in messages.splitlines()), messages


def test_stats_continue(own_server: Server) -> None:
    command = Jobworker(own_server)
    job_id = command.create("sleep", "600")
    with command.started("stats", "-f", "-i", "200ms", job_id) as process:
        assert process.stdout
        for _ in range(3):
            process.stdout.readline()
        kill_supervisor(own_server)
        for _ in range(5):
            assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert until(lambda: job_id in command.printed("list", "-q"))
