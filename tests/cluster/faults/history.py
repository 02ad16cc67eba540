"""Parts of made-up histories, with which the tests of the oracle show that it sees a broken promise."""

from jobworker.v1 import job_pb2
from tests.cluster.faults.ledger import Entry, Ledger
from tests.cluster.faults.plan import JobPlan

ID = "01900000-0000-7000-8000-000000000001"


def plan(*, retries: bool = False, exit_code: int = 0, priority: int = 0) -> JobPlan:
    """Return a job of three lines."""
    return JobPlan(
        "job-1",
        lines=3,
        pause=0.1,
        exit_code=exit_code,
        cpu=40,
        priority=priority,
        retries=retries,
        stopped=False,
    )


def accept(ledger: Ledger, accepted: JobPlan) -> Entry:
    """Return the entry of a job that a gateway has accepted."""
    entry = Entry(accepted)
    ledger.accept(entry, job_pb2.Job(id=ID))
    return entry


def final(**fields: object) -> job_pb2.Job:
    """Return the record of the job after its end, with changed fields."""
    job = job_pb2.Job(id=ID, status=job_pb2.JOB_STATUS_COMPLETED, exit_code=0, node="node-1")
    job.termination.reason = job_pb2.TERMINATION_REASON_EXITED
    job.create_time.FromSeconds(50)
    job.start_time.FromSeconds(60)
    job.end_time.FromSeconds(100)
    job.MergeFrom(job_pb2.Job(**fields))  # type: ignore[arg-type]  # the fields of a message
    return job
