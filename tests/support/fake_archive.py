"""An archive in memory, with the semantics of the real ones."""

from dataclasses import dataclass, field

from jobworker.v1 import job_pb2
from jobworker_gateway.engine import ArchivedJob
from jobworkerd.errors import ClusterUnavailable


@dataclass
class FakeArchive:
    """The final jobs by id. The first record of a job wins."""

    rows: dict[str, ArchivedJob] = field(default_factory=dict)
    available: bool = True
    refused: int = 0
    deleted: set[str] = field(default_factory=set)
    """Jobs that a client has deleted."""

    async def add(self, final: ArchivedJob) -> job_pb2.Job:
        if not self.available:
            self.refused += 1
            raise ClusterUnavailable("the database does not answer")
        if final.job.id in self.deleted:
            return final.job
        return self.rows.setdefault(final.job.id, final).job

    async def find(self, job_id: str) -> job_pb2.Job | None:
        found = self.rows.get(job_id)
        return found.job if found else None

    async def is_deleted(self, job_id: str) -> bool:
        return job_id in self.deleted

    async def find_request(self, request_key: str) -> ArchivedJob | None:
        return next((each for each in self.rows.values() if each.request_key == request_key), None)
