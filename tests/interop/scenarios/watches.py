"""Scenarios about watches."""

from jobworker.v1 import job_pb2
from tests.interop.environment import Environment

UNKNOWN_ID = "019a0000-0000-7000-8000-000000000000"
SCRIPT = 'until [ -e "$0/go" ]; do sleep 0.05; done; exit 4'


def watch_jobs_to_their_ends(env: Environment) -> None:
    """Watch a job that has ended, one that runs and one that does not exist."""
    ended = env.admin.wait(env.admin.create("true").id)
    running = env.admin.create("sh", "-c", "sleep 0.5; exit 3")
    first, second = env.viewer.watch(ended.id, UNKNOWN_ID, running.id)
    assert first == ended
    assert (second.id, second.status, second.exit_code) == (running.id, job_pb2.JOB_STATUS_FAILED, 3)
    assert second == env.admin.get(running.id)


def watch_over_an_api_process_restart(env: Environment) -> None:
    """The watch continues after the last bookmark."""
    job_id, jobs = env.over_an_api_process_restart(SCRIPT, "WatchJobs", 1, env.limited.watch)
    assert [(job.id, job.exit_code) for job in jobs] == [(job_id, 4)]


def watch_over_a_supervisor_restart(env: Environment) -> None:
    """The client compares a new snapshot with what it knows."""
    job_id, jobs = env.over_a_supervisor_restart(SCRIPT, "WatchJobs", 1, env.limited.watch)
    assert [(job.id, job.exit_code) for job in jobs] == [(job_id, 4)]
