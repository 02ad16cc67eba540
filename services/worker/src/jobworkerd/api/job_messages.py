"""Jobs as the bytes of their messages. A final job never changes, so its bytes are kept for the next call."""

from jobworker.v1 import job_service_pb2
from jobworkerd.api.convert import job_to_proto
from jobworkerd.api.streaming.encoding import field
from jobworkerd.model import Job

_JOB = job_service_pb2.GetJobResponse.JOB_FIELD_NUMBER
_JOBS = job_service_pb2.ListJobsResponse.JOBS_FIELD_NUMBER
_NEXT_PAGE_TOKEN = job_service_pb2.ListJobsResponse.NEXT_PAGE_TOKEN_FIELD_NUMBER


class JobMessages:
    """Serializes jobs, and keeps at most `max_bytes` of final ones; the least recently used go first."""

    _ENTRY_BYTES = 256
    """Of an id, of bytes without their contents, and their places in the table."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._kept: dict[str, bytes] = {}

    def serialized(self, job: Job) -> bytes:
        """Returns the bytes of a job's message."""
        if found := self.kept(job.id):
            return found
        message = job_to_proto(job).SerializeToString()
        if job.status.final:
            self._keep(job.id, message)
        return message

    def kept(self, job_id: str) -> bytes:
        """Returns the bytes of a final job's message, nothing if they are not at hand."""
        if found := self._kept.pop(job_id, b""):
            self._kept[job_id] = found
        return found

    def _keep(self, job_id: str, message: bytes) -> None:
        self._kept[job_id] = message
        self._left -= self._size(message)
        while self._left < 0:
            self._left += self._size(self._kept.pop(next(iter(self._kept))))

    def _size(self, message: bytes) -> int:
        return len(message) + self._ENTRY_BYTES


def get_job_response(job: bytes) -> bytes:
    """Returns a serialized GetJobResponse."""
    return field(_JOB, job)


def list_jobs_response(jobs: list[bytes], next_page_token: str) -> bytes:
    """Returns a serialized ListJobsResponse."""
    fields = [field(_JOBS, job) for job in jobs]
    if next_page_token:
        fields.append(field(_NEXT_PAGE_TOKEN, next_page_token.encode()))
    return b"".join(fields)
