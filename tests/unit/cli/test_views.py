"""Tests of the text about a job: golden texts, and escaped control characters."""

import pytest

from jobworker.v1 import job_pb2
from jobworker_cli.render import tables, views
from jobworker_cli.render.tables import jobs_table
from jobworker_cli.render.views import job_details, outcome
from jobworker_cli.results import exit_code

DETAILS = """\
Job            0199f3a0-0000-7000-8000-000000000001
Status         FAILED
Signal         SIGKILL (9)
Ended because  the kernel killed it at its memory limit of 64 MiB
Left behind    the server killed processes that outlived the command

Command        sh -c 'echo "$HOME"'
Directory      /srv
Created        2026-03-01 12:00:00 UTC
Started        2026-03-01 12:00:01 UTC, 3d ago
Ended          2026-03-01 12:02:06 UTC, after 2m 3s
Timeout        10m
Stopped with   SIGTERM, after 10s SIGKILL
Owner          CN=alice,OU=Admin
Labels         env=prod, team=a
Output         1.5 KiB

CPU limit      25% of one core, in force (cpu.max: 25000 100000)
Memory limit   64 MiB, in force (memory.max: 67108864)
I/O limit      1 MiB/s, not in force: the directory is on tmpfs
Process limit  none
I/O ops limit  500/s
CPU weight     200, in force (cpu.weight: 200)
Cores          0-1,9, not in force: this host has cores 0-3
Containment    in force

Wall time      2m 3s
CPU user       1.2s
CPU system     35ms
Memory peak    64 MiB
Slowed at 90%  12 times
OOM kills      1"""


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> job_pb2.Job:
    """Return a job with all fields set."""
    monkeypatch.setattr(views, "format_age", lambda _: "3d ago")
    monkeypatch.setattr(tables, "format_age", lambda _: "3d ago")
    monkeypatch.setattr(views, "local_time", lambda time: time.ToJsonString()[:19].replace("T", " ") + " UTC")
    job = job_pb2.Job(
        id="0199f3a0-0000-7000-8000-000000000001",
        command="sh",
        args=["-c", 'echo "$HOME"'],
        max_cpu=25,
        max_memory=64,
        max_io_bps=2**20,
        max_io_iops=500,
        cpu_weight=200,
        cpu_set="0-1,9",
        status=job_pb2.JOB_STATUS_FAILED,
        owner="CN=alice,OU=Admin",
        labels={"team": "a", "env": "prod"},
        working_directory="/srv",
        stop_signal="SIGTERM",
        log_size=1_536,
        termination=job_pb2.Termination(
            reason=job_pb2.TERMINATION_REASON_OOM_KILLED,
            signal=9,
            signal_name="SIGKILL",
            message="the kernel killed it at its memory limit of 64 MiB",
            leftovers_killed=True,
            oom_killed=True,
        ),
        applied_limits=[
            job_pb2.AppliedLimit(
                limit=job_pb2.LIMIT_MAX_CPU, in_force=True, file="cpu.max", value="25000 100000"
            ),
            job_pb2.AppliedLimit(
                limit=job_pb2.LIMIT_MAX_MEMORY, in_force=True, file="memory.max", value="67108864"
            ),
            job_pb2.AppliedLimit(limit=job_pb2.LIMIT_MAX_IO_BPS, reason="the directory is on tmpfs"),
            job_pb2.AppliedLimit(limit=job_pb2.LIMIT_CONTAINMENT, in_force=True),
            job_pb2.AppliedLimit(
                limit=job_pb2.LIMIT_CPU_WEIGHT, in_force=True, file="cpu.weight", value="200"
            ),
            job_pb2.AppliedLimit(limit=job_pb2.LIMIT_CPU_SET, reason="this host has cores 0-3"),
        ],
        usage=job_pb2.Usage(
            wall_usec=123_000_000,
            cpu_user_usec=1_200_000,
            cpu_system_usec=35_000,
            memory_peak_bytes=2**26,
            memory_high_count=12,
            oom_kill_count=1,
        ),
    )
    job.timeout.FromSeconds(600)
    job.stop_grace_period.FromSeconds(10)
    job.create_time.FromJsonString("2026-03-01T12:00:00Z")
    job.start_time.FromJsonString("2026-03-01T12:00:01Z")
    job.end_time.FromJsonString("2026-03-01T12:02:06Z")
    return job


def test_details_have_one_field_per_line(job: job_pb2.Job) -> None:
    assert job_details(job) == DETAILS


def test_oom_kill_of_a_child_is_shown(job: job_pb2.Job) -> None:
    job.termination.reason = job_pb2.TERMINATION_REASON_EXITED
    assert "\nOut of memory  the kernel killed processes of the job\n" in job_details(job)


def test_pending_kill_and_lifted_memory_warning_are_shown(job: job_pb2.Job) -> None:
    job.kill_pending = True
    job.usage.pids_denied_count = 3
    job.usage.scratch_bytes = 5 << 20
    job.memory_high_lift_time.FromJsonString("2026-03-01T12:00:09Z")
    lines = {line.split("  ", 1)[0]: line for line in job_details(job).splitlines()}
    assert "SIGKILL is pending" in lines["Kill pending"]
    assert lines["Scratch"].endswith(" 5 MiB")
    assert lines["Forks refused"].endswith(" 3 times")
    assert "memory.high lifted at 2026-03-01 12:00:09" in lines["Memory warning"]


def test_control_characters_are_escaped(job: job_pb2.Job) -> None:
    hostile = "\x1b[31m\r\n\x9b1m\u202e\x07"
    job.command = job.args[1] = job.owner = job.working_directory = job.termination.message = hostile
    job.labels["team"] = job.applied_limits[2].reason = job.termination.signal_name = job.stop_signal = (
        hostile
    )
    job.applied_limits[3].file = hostile
    shown = job_details(job) + jobs_table([job])
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert len(job_details(job).splitlines()) == len(DETAILS.splitlines())


def test_numbers_of_a_newer_server_are_shown(job: job_pb2.Job) -> None:
    job.applied_limits.append(job_pb2.AppliedLimit.FromString(b"\x08\x63"))
    job.applied_isolation.append(job_pb2.AppliedIsolation.FromString(b"\x08\x62"))
    details = job_details(job)
    assert "\nUnknown limit 99" in details
    assert "\nUnknown part 98" in details


@pytest.mark.parametrize(
    ("columns", "command"),
    [(120, "sh -c 'echo \"$HOME\"'"), (80, "sh -c 'echo…"), (42, "  FAI…"), (20, "…")],
)
def test_row_is_cut_to_the_width_of_a_terminal(
    job: job_pb2.Job, monkeypatch: pytest.MonkeyPatch, columns: int, command: str
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    head, row = jobs_table([job]).splitlines()
    assert row.endswith(command)
    assert max(len(head), len(row)) <= columns
    assert "\x1b" not in row


def test_colour_is_used_on_terminals_only(job: job_pb2.Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b" not in jobs_table([job])
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert "\x1b[31mFAILED" in jobs_table([job])
    assert "\x1b[31mFAILED" in job_details(job)


def test_outcome_is_one_word() -> None:
    running = job_pb2.Job(status=job_pb2.JOB_STATUS_RUNNING)
    assert outcome(running) == "-"
    assert exit_code(running) == 0
    assert outcome(job_pb2.Job(exit_code=0)) == "0"
    killed = job_pb2.Termination(reason=job_pb2.TERMINATION_REASON_SIGNALED, signal=35)
    assert outcome(job_pb2.Job(termination=killed)) == "signal 35"
    late = job_pb2.Termination(reason=job_pb2.TERMINATION_REASON_TIMED_OUT, signal=15)
    assert outcome(job_pb2.Job(termination=late)) == "timeout"


def test_unknown_status_is_shown_as_a_number() -> None:
    job = job_pb2.Job(id="x", command="true")
    job.MergeFromString(b"\x38\x63")  # field 7, varint 99
    assert "99" in job_details(job).splitlines()[1].split()
