"""Idempotency of CreateJob: the jobs that request ids have started."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from jobworkerd.errors import RequestIdReused
from jobworkerd.model import Job, JobSpec
from jobworkerd.records.store import Records


class _Starting(NamedTuple):
    """A request whose job is starting."""

    spec: JobSpec
    job_id: str
    started: asyncio.Future[Job]


class RequestIds:
    """The request ids of each owner: in memory while the job starts, and then in its record."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._starting: dict[tuple[str, str], _Starting] = {}

    async def first(self, spec: JobSpec) -> str:
        """Return the id of the job that an equal request has started; empty if there was no such request.

        Raises:
            RequestIdReused: the owner used the request id for a different request.
            JobWorkerError, OSError: the start of the job failed while this request waited for it.
        """
        if not spec.request_id:
            return ""
        if starting := self._starting.get((spec.owner, spec.request_id)):
            if spec != starting.spec:
                raise RequestIdReused(spec.request_id, starting.job_id)
            await asyncio.shield(starting.started)
            return starting.job_id
        first = self._records.first_request(spec)
        if first is None:
            return ""
        if not await self._records.request_hashes.match(spec, first.request_hash):
            raise RequestIdReused(spec.request_id, first.job_id)
        return first.job_id

    def check_unused(self, spec: JobSpec) -> None:
        """Check that the request id of a job has started no other job.

        Raises:
            RequestIdReused: it has.
        """
        starting = self._starting.get((spec.owner, spec.request_id))
        if first := starting or self._records.first_request(spec):
            raise RequestIdReused(spec.request_id, first.job_id)

    @contextmanager
    def starting(self, spec: JobSpec, job_id: str, started: asyncio.Future[Job]) -> Iterator[None]:
        """Let equal requests wait for a job that starts in the context. `started` gets its result."""
        key = (spec.owner, spec.request_id)
        if spec.request_id:
            self._starting[key] = _Starting(spec, job_id, started)
        try:
            yield
        finally:
            self._starting.pop(key, None)
