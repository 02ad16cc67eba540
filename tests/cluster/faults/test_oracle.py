"""The oracle of the fault schedule sees broken promises."""

import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest

from jobworker.v1 import job_pb2
from tests.cluster.faults.callers import Callers
from tests.cluster.faults.ledger import Absence, Entry, Ledger
from tests.cluster.faults.oracle import GONE_SECONDS, Oracle
from tests.cluster.faults.plan import JobPlan

_ID = "01900000-0000-7000-8000-000000000001"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger without a job."""
    with closing(Ledger(1, tmp_path / "journal")) as opened:
        yield opened


def _plan(*, retries: bool = False, exit_code: int = 0) -> JobPlan:
    return JobPlan(
        "job-1", lines=3, pause=0.1, exit_code=exit_code, priority=0, retries=retries, stopped=False
    )


def _accept(ledger: Ledger, plan: JobPlan) -> Entry:
    entry = Entry(plan)
    ledger.accept(entry, job_pb2.Job(id=_ID))
    return entry


def _final(**fields: object) -> job_pb2.Job:
    job = job_pb2.Job(id=_ID, status=job_pb2.JOB_STATUS_COMPLETED, exit_code=0, node="node-1")
    job.termination.reason = job_pb2.TERMINATION_REASON_EXITED
    job.end_time.FromSeconds(100)
    job.create_time.FromSeconds(50)
    job.MergeFrom(job_pb2.Job(**fields))  # type: ignore[arg-type]  # the fields of a message
    return job


def _oracle(ledger: Ledger, runs: Path, lines: str = "") -> Oracle:
    runs.write_text(lines)
    return Oracle(ledger, Callers([], ledger), {}, runs)


def test_a_final_state_that_changes_is_a_violation(ledger: Ledger) -> None:
    _accept(ledger, _plan())
    ledger.observe(_final(), monotonic())
    ledger.observe(_final(), monotonic())
    assert not ledger.violations
    ledger.observe(_final(node="node-2"), monotonic())
    assert len(ledger.violations) == 1


def test_a_final_job_that_runs_again_is_a_violation_only_for_a_later_call(ledger: Ledger) -> None:
    _accept(ledger, _plan())
    running, before = job_pb2.Job(id=_ID, status=job_pb2.JOB_STATUS_RUNNING), monotonic()
    ledger.observe(_final(), before)
    ledger.observe(running, before)
    assert not ledger.violations
    ledger.observe(running, monotonic())
    assert len(ledger.violations) == 1


def test_a_request_id_that_starts_two_jobs_is_a_violation(ledger: Ledger) -> None:
    entry = _accept(ledger, _plan())
    ledger.accept(entry, job_pb2.Job(id=_ID.replace("1", "2")))
    assert len(ledger.violations) == 1


_ONCE = "1.0 job-1 1.0\n2.0 job-1 1.0\n"
_AGAIN = "3.0 job-1 3.0\n"
_OVERLAP = "1.5 job-1 1.5\n"


@pytest.mark.parametrize(
    ("retries", "lines", "violations"),
    [
        (False, _ONCE, 0),
        (False, _ONCE + _AGAIN, 1),
        (True, _ONCE + _AGAIN, 0),
        (True, _ONCE + _OVERLAP, 1),
    ],
)
def test_a_second_execution_is_a_violation_unless_it_is_allowed_and_later(
    ledger: Ledger, tmp_path: Path, *, retries: bool, lines: str, violations: int
) -> None:
    _accept(ledger, _plan(retries=retries))
    _oracle(ledger, tmp_path / "runs", lines).check_executions()
    assert len(ledger.violations) == violations


def test_a_job_that_completes_without_an_execution_is_a_violation(ledger: Ledger, tmp_path: Path) -> None:
    _accept(ledger, _plan())
    ledger.observe(_final(), monotonic())
    _oracle(ledger, tmp_path / "runs").check_executions()
    assert len(ledger.violations) == 1


def test_a_record_with_another_exit_code_is_a_violation(ledger: Ledger, tmp_path: Path) -> None:
    _accept(ledger, _plan(exit_code=7))
    ledger.observe(_final(), monotonic())
    _oracle(ledger, tmp_path / "runs").check_records()
    assert len(ledger.violations) == 1


@pytest.mark.parametrize(
    ("absences", "violations"),
    [
        ([], 1),
        ([Absence("node-1", 60.0, 85.0, had_power=True)], 0),
        ([Absence("node-1", 60.0, 68.0, had_power=True)], 1),
        ([Absence("node-1", 97.0, 99.0, had_power=False)], 0),
        ([Absence("node-2", 97.0, 99.0, had_power=False)], 1),
        ([Absence("node-1", 10.0, 35.0, had_power=True)], 1),
    ],
)
def test_a_job_that_is_lost_while_its_host_was_there_is_a_violation(
    ledger: Ledger, tmp_path: Path, *, absences: list[Absence], violations: int
) -> None:
    _accept(ledger, _plan())
    ledger.absences += absences
    ledger.observe(_final(status=job_pb2.JOB_STATUS_LOST), monotonic())
    _oracle(ledger, tmp_path / "runs").check_losses()
    assert len(ledger.violations) == violations


@pytest.mark.parametrize(("seconds", "violations"), [(1.0, 0), (GONE_SECONDS + 1, 1)])
def test_a_process_of_a_job_that_was_final_long_ago_is_a_violation(
    ledger: Ledger, tmp_path: Path, *, seconds: float, violations: int
) -> None:
    entry = _accept(ledger, replace(_plan(), request_id="faults-1-1"))
    ledger.observe(_final(), monotonic())
    entry.final_at -= seconds
    argv = ["bash", "-c", "echo; read", "faults-1-1"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        _oracle(ledger, tmp_path / "runs").check_processes()
        process.kill()
    assert len(ledger.violations) == violations


@pytest.mark.parametrize(("node", "violations"), [("node-1", 0), ("node-2", 1)])
def test_an_answer_of_a_stop_that_is_not_the_final_state_is_a_violation(
    ledger: Ledger, *, node: str, violations: int
) -> None:
    entry = _accept(ledger, _plan())
    ledger.stopped(entry, _final(node=node))
    ledger.observe(job_pb2.Job(id=_ID, status=job_pb2.JOB_STATUS_RUNNING), monotonic())
    assert not ledger.violations
    ledger.observe(_final(), monotonic())
    assert len(ledger.violations) == violations
