"""The oracle of the fault schedule sees broken promises."""

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest

from jobworker.v1 import job_pb2
from tests.cluster.faults.callers import Callers, Stub
from tests.cluster.faults.history import ID, accept, final, plan
from tests.cluster.faults.ledger import Absence, Ledger
from tests.cluster.faults.oracle import GONE_SECONDS, Oracle
from tests.cluster.faults.scripted_server import ScriptedServer, payload, result
from tests.cluster.hosts import CPU, MAX_JOBS, MEMORY


def _oracle(ledger: Ledger, runs: Path, lines: str = "", *, nodes: dict[str, Stub] | None = None) -> Oracle:
    runs.write_text(lines)
    return Oracle(ledger, Callers([], ledger), nodes or {}, runs)


@pytest.mark.parametrize(
    "changed",
    [
        {"node": "node-2"},
        {"status": job_pb2.JOB_STATUS_LOST},
        {"end_time": {"seconds": 101}},
        {"start_time": {"seconds": 61}},
        {"usage": {"memory_peak_bytes": 1}},
    ],
)
def test_a_final_state_that_changes_is_a_violation(ledger: Ledger, changed: dict[str, object]) -> None:
    accept(ledger, plan())
    ledger.observe(final(), monotonic())
    ledger.observe(final(), monotonic())
    assert not ledger.violations
    ledger.observe(final(**changed), monotonic())
    (found,) = ledger.violations
    assert next(iter(changed)) in found


def test_a_final_job_that_runs_again_is_a_violation_only_for_a_later_call(ledger: Ledger) -> None:
    accept(ledger, plan())
    running, before = job_pb2.Job(id=ID, status=job_pb2.JOB_STATUS_RUNNING), monotonic()
    ledger.observe(final(), before)
    ledger.observe(running, before)
    assert not ledger.violations
    ledger.observe(running, monotonic())
    assert len(ledger.violations) == 1


def test_a_request_id_that_starts_two_jobs_is_a_violation(ledger: Ledger) -> None:
    entry = accept(ledger, plan())
    ledger.accept(entry, job_pb2.Job(id=ID.replace("1", "2")))
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
    accept(ledger, plan(retries=retries))
    _oracle(ledger, tmp_path / "runs", lines).check_executions()
    assert len(ledger.violations) == violations


def test_a_job_that_completes_without_an_execution_is_a_violation(ledger: Ledger, tmp_path: Path) -> None:
    accept(ledger, plan())
    ledger.observe(final(), monotonic())
    _oracle(ledger, tmp_path / "runs").check_executions()
    assert len(ledger.violations) == 1


def test_a_record_with_another_exit_code_is_a_violation(ledger: Ledger, tmp_path: Path) -> None:
    accept(ledger, plan(exit_code=7))
    ledger.observe(final(), monotonic())
    _oracle(ledger, tmp_path / "runs").check_records()
    assert len(ledger.violations) == 1


@pytest.mark.parametrize(
    ("retries", "stopped", "violations"), [(False, False, 0), (True, False, 1), (True, True, 0)]
)
def test_a_record_of_a_lost_job_that_had_to_start_again_is_a_violation(
    ledger: Ledger, tmp_path: Path, *, retries: bool, stopped: bool, violations: int
) -> None:
    accept(ledger, replace(plan(retries=retries), stopped=stopped))
    lost = {"status": job_pb2.JOB_STATUS_LOST, "termination": {"reason": job_pb2.TERMINATION_REASON_LOST}}
    ledger.observe(final(**lost), monotonic())
    _oracle(ledger, tmp_path / "runs").check_records()
    assert len(ledger.violations) == violations


@pytest.mark.parametrize(
    ("absences", "violations"),
    [
        ([], 1),
        ([Absence("node-1", 60.0, 85.0, had_power=True)], 0),
        ([Absence("node-1", 60.0, 68.0, had_power=True)], 1),
        ([Absence("node-1", 97.0, 99.0, had_power=False)], 0),
        ([Absence("node-2", 97.0, 99.0, had_power=False)], 1),
        ([Absence("node-1", 45.0, 49.0, had_power=False)], 0),
        ([Absence("node-1", 10.0, 35.0, had_power=True)], 1),
    ],
)
def test_a_job_that_is_lost_while_its_host_was_there_is_a_violation(
    ledger: Ledger, tmp_path: Path, *, absences: list[Absence], violations: int
) -> None:
    accept(ledger, plan())
    ledger.absences += absences
    ledger.observe(final(status=job_pb2.JOB_STATUS_LOST), monotonic())
    _oracle(ledger, tmp_path / "runs").check_losses()
    assert len(ledger.violations) == violations


@pytest.mark.parametrize(("seconds", "violations"), [(1.0, 0), (GONE_SECONDS + 1, 1)])
def test_a_process_of_a_job_that_was_final_long_ago_is_a_violation(
    ledger: Ledger, tmp_path: Path, *, seconds: float, violations: int
) -> None:
    entry = accept(ledger, replace(plan(), request_id="faults-1-1"))
    ledger.observe(final(), monotonic())
    entry.final_at -= seconds
    argv = ["bash", "-c", "echo; read", "faults-1-1"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        _oracle(ledger, tmp_path / "runs").check_processes()
        process.kill()
    assert len(ledger.violations) == violations


@pytest.mark.parametrize(
    ("later", "violations"),
    [("STOPPED node-1", 0), ("STOPPED node-2", 1), ("LOST node-1", 1), ("RUNNING node-1", 1)],
)
def test_an_answer_of_a_stop_that_does_not_last_is_a_violation(
    ledger: Ledger, *, later: str, violations: int
) -> None:
    accept(ledger, plan())
    status, node = later.split()
    stopped, found = final(node="node-1"), final(node=node)
    stopped.status = job_pb2.JOB_STATUS_STOPPED
    found.status = job_pb2.JobStatus.Value(f"JOB_STATUS_{status}")
    ledger.stopped(stopped, monotonic())
    assert not ledger.violations
    ledger.observe(found, monotonic())
    assert len(ledger.violations) == violations


def test_an_answer_of_a_stop_without_an_end_is_a_violation(ledger: Ledger) -> None:
    accept(ledger, plan())
    ledger.stopped(job_pb2.Job(id=ID, status=job_pb2.JOB_STATUS_RUNNING), monotonic())
    assert len(ledger.violations) == 1


async def test_a_job_that_does_not_end_is_a_violation(ledger: Ledger, tmp_path: Path) -> None:
    accept(ledger, plan())
    await _oracle(ledger, tmp_path / "runs").wait_for_all(seconds=0)
    assert len(ledger.violations) == 1


_OUTPUT = plan().output


@pytest.mark.parametrize(
    ("log", "streamed", "violations"),
    [
        (_OUTPUT, _OUTPUT, 0),
        (_OUTPUT, None, 0),
        (_OUTPUT, _OUTPUT[:5] + _OUTPUT[6:], 1),
        (_OUTPUT, _OUTPUT[:5] + _OUTPUT[4:], 1),
        (_OUTPUT, _OUTPUT[:-1], 1),
        (_OUTPUT[:-1], _OUTPUT[:-1], 1),
        (_OUTPUT[:5] + _OUTPUT[6:], _OUTPUT[:5] + _OUTPUT[6:], 2),
        (None, _OUTPUT, 1),
    ],
)
async def test_output_that_is_not_complete_is_a_violation(
    ledger: Ledger, tmp_path: Path, *, log: bytes | None, streamed: bytes | None, violations: int
) -> None:
    entry = accept(ledger, plan())
    entry.streamed = None if streamed is None else bytearray(streamed)
    ledger.observe(final(), monotonic())
    stream = None if log is None else [payload(log), result(final(), len(log))]
    node = ScriptedServer(final(), stream=stream)
    await _oracle(ledger, tmp_path / "runs", nodes={"node-1": node.stub}).check_logs()
    assert len(ledger.violations) == violations


@pytest.mark.parametrize(("streamed", "violations"), [(_OUTPUT[:5], 0), (_OUTPUT[1:5], 1)])
async def test_output_of_a_lost_job_is_the_begin_of_its_log(
    ledger: Ledger, tmp_path: Path, *, streamed: bytes, violations: int
) -> None:
    entry = accept(ledger, plan())
    entry.streamed = bytearray(streamed)
    lost = final(status=job_pb2.JOB_STATUS_LOST, termination={"reason": job_pb2.TERMINATION_REASON_LOST})
    ledger.observe(lost, monotonic())
    node = ScriptedServer(lost, stream=[payload(_OUTPUT[:9]), result(lost, 9)])
    await _oracle(ledger, tmp_path / "runs", nodes={"node-1": node.stub}).check_logs()
    assert len(ledger.violations) == violations


def _running(count: int, *, cpu: int = 0, memory: int = 0) -> list[job_pb2.Job]:
    return [job_pb2.Job(id=str(number), max_cpu=cpu, max_memory=memory) for number in range(count)]


@pytest.mark.parametrize(
    ("jobs", "violations"),
    [
        (_running(MAX_JOBS, cpu=CPU // MAX_JOBS, memory=MEMORY // MAX_JOBS), 0),
        (_running(MAX_JOBS + 1), 1),
        (_running(2, cpu=CPU // 2 + 1), 1),
        (_running(2, memory=MEMORY // 2 + 1), 1),
    ],
)
async def test_a_host_that_runs_more_than_its_capacity_is_a_violation(
    ledger: Ledger, tmp_path: Path, *, jobs: Sequence[job_pb2.Job], violations: int
) -> None:
    nodes = {"node-1": ScriptedServer(*jobs, page=len(jobs)).stub}
    await _oracle(ledger, tmp_path / "runs", nodes=nodes).check_capacity()
    assert len(ledger.violations) == violations
