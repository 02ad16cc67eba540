"""Pages of jobs, newest first: those of the archive and those of the table, as one list."""

from typing import NamedTuple

from jobworker.v1 import job_pb2
from jobworker_gateway.engine import check_complete
from jobworker_gateway.job_filter import matches
from jobworker_gateway.job_table import LiveJob
from jobworker_gateway.jobs import Jobs
from jobworkerd.protocol.messages import ListJobs

EXAMINED_JOBS = 5_000
"""Jobs of the table that a page examines at most. Other calls wait for that, about 20 ms."""


class JobPage(NamedTuple):
    """A page of jobs, newest first. `next_before` is empty if no page follows."""

    jobs: tuple[job_pb2.Job, ...]
    next_before: str


async def read_page(jobs: Jobs, request: ListJobs) -> JobPage:
    """Return a page of the jobs that match. It can be empty although another one follows.

    The archive is read between two looks at the table. A job that ends meanwhile is at least in one of them,
    so that no job is missing. The state in the archive is the true one. The state in the table can be older.

    Raises:
        ClusterUnavailable: the archive does not answer, or this gateway has just started.
    """
    check_complete(jobs.engine)
    table = jobs.engine.jobs
    before, before_end = _live(jobs, request, "")
    archived, stop = await jobs.archive.page(request)
    live, end = _live(jobs, request, max(stop, before_end))
    found = {job.id: job for job in archived if job.id >= end}
    left = [each for each in before if each.job.id >= end and table.get(each.job.id) is None]
    # The archive can have them by now. With a filter for statuses, its page lacks jobs that the table has
    # with an older status.
    unsure = left + [each for each in live if each.final or request.statuses]
    ids = [each.job.id for each in unsure if each.job.id not in found]
    ended = {job.id: job for job in await jobs.archive.find_all(ids)}
    found.update((job.id, job) for job in ended.values() if matches(request, job))
    for each in live:
        if not each.final and each.job.id not in ended:
            found.setdefault(each.job.id, jobs.shown(each))
    merged = sorted(found.values(), key=lambda job: job.id, reverse=True)
    page = _fitting(merged, request)
    return JobPage(tuple(page), page[-1].id if len(page) < len(merged) else end)


def _live(jobs: Jobs, request: ListJobs, stop: str) -> tuple[list[LiveJob], str]:
    """Return the jobs of the table that match, down to the end of the archive's page, and the end of both.

    One more than a page is enough to know that another page follows. It ends there, because those that are
    final can have been deleted: then older ones are in the next page.
    """
    found: list[LiveJob] = []
    for number, each in enumerate(jobs.engine.jobs.newest(request.before), 1):
        if each.job.id < stop:
            break
        if matches(request, each.job):
            found.append(each)
        if number == EXAMINED_JOBS or len(found) > request.page_size:
            return found, each.job.id
    return found, stop


def _fitting(found: list[job_pb2.Job], request: ListJobs) -> list[job_pb2.Job]:
    """Return the jobs that fit into a page, at least the first one."""
    page: list[job_pb2.Job] = []
    left = request.max_bytes
    for job in found[: request.page_size]:
        left -= job.ByteSize()
        if page and left < 0:
            break
        page.append(job)
    return page
