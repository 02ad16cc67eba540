"""Serializes jobs, and caches the messages of final jobs, which never change."""

from jobworker.v1 import job_service_pb2, job_watch_pb2
from jobworkerd.model import Job
from jobworkerd.rpc_server.convert import job_to_proto
from jobworkerd.rpc_server.wire import field

_JOB = job_service_pb2.GetJobResponse.JOB_FIELD_NUMBER
_JOBS = job_service_pb2.ListJobsResponse.JOBS_FIELD_NUMBER
_CHANGED = job_watch_pb2.WatchJobsResponse.CHANGED_FIELD_NUMBER
_CHANGED_JOB = job_watch_pb2.JobChange.JOB_FIELD_NUMBER
_NEXT_PAGE_TOKEN = job_service_pb2.ListJobsResponse.NEXT_PAGE_TOKEN_FIELD_NUMBER

_RECENT_CHANGES = 32
"""Changes that several watchers get at about the same time. Each has at most the size of a request."""


class JobMessages:
    """Serializes jobs, and caches at most `max_bytes` of final ones in an LRU cache."""

    _ENTRY_BYTES = 256
    """Memory of an id, a request id, an empty bytes object, and their table entries."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._cached: dict[str, tuple[bytes, tuple[str, str]]] = {}
        self._changes: dict[int, bytes] = {}

    def serialize(self, job: Job) -> bytes:
        """Return the serialized message of a job."""
        if not job.status.final:
            return job_to_proto(job).SerializeToString()
        if (found := self._cached.get(job.id)) and found[1] == job.run:
            return self.cached(job.id)
        self._remove(job.id)
        message = job_to_proto(job).SerializeToString()
        self._add(job, message)
        return message

    def cached(self, job_id: str) -> bytes:
        """Return the cached message of a final job, empty if it is not cached."""
        if not (found := self._cached.pop(job_id, None)):
            return b""
        self._cached[job_id] = found
        return found[0]

    def serialize_change(self, job: Job, revision: int) -> bytes:
        """Return a serialized WatchJobsResponse, which all watchers of this process share."""
        if found := self._changes.get(revision):
            return found
        number = job_watch_pb2.JobChange(revision=revision).SerializeToString()
        message = field(_CHANGED, field(_CHANGED_JOB, self.serialize(job), number))
        if revision:
            self._changes[revision] = message
            if len(self._changes) > _RECENT_CHANGES:
                del self._changes[next(iter(self._changes))]
        return message

    def _add(self, job: Job, message: bytes) -> None:
        self._cached[job.id] = message, job.run
        self._left -= self._size(message)
        while self._left < 0:
            self._remove(next(iter(self._cached)))

    def _remove(self, job_id: str) -> None:
        if found := self._cached.pop(job_id, None):
            self._left += self._size(found[0])

    def _size(self, message: bytes) -> int:
        return len(message) + self._ENTRY_BYTES


def get_job_response(job: bytes) -> bytes:
    """Return a serialized GetJobResponse."""
    return field(_JOB, job)


def wait_job_response(job: bytes, *, done: bool) -> bytes:
    """Return a serialized WaitJobResponse."""
    return field(_JOB, job, job_service_pb2.WaitJobResponse(done=done).SerializeToString())


def list_jobs_response(jobs: list[bytes], next_page_token: str) -> bytes:
    """Return a serialized ListJobsResponse."""
    fields = [field(_JOBS, job) for job in jobs]
    if next_page_token:
        fields.append(field(_NEXT_PAGE_TOKEN, next_page_token.encode()))
    return b"".join(fields)
