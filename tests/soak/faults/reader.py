"""Reads logs from any offset, over interruptions, and compares them with the other readers."""

import asyncio
import random
from time import monotonic

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_client.aio.client import Client
from jobworker_client.chunks import Chunk
from jobworker_client.errors import JobNotFound, JobWorkerError
from jobworker_client.events import StreamEvent, TruncatedRange
from jobworker_client.requests import stream_request
from tests.soak.faults.final import observe
from tests.soak.faults.job_log import JobLog, LogMismatch
from tests.soak.faults.ledger import Entry, Ledger
from tests.soak.faults.patience import AWAY_SECONDS
from tests.soak.faults.plan import SOURCES, STDERR, STDOUT, Kind

_INTERRUPTED = 0.05
_SMALL_BYTES = 64
"""Streams are interrupted less often at smaller chunks, of which a log has more."""

_PAUSE_SECONDS = 0.1
_CLOCK_SECONDS = 0.05
"""Times of a log are accurate to 10 ms."""

_BY_ITSELF = {job_pb2.TERMINATION_REASON_EXITED, job_pb2.TERMINATION_REASON_SIGNALED}


class Reader:
    """One stream of one job. It cancels its own call now and then and resumes it."""

    def __init__(
        self, client: Client, ledger: Ledger, pattern: bytes, rng: random.Random, entry: Entry, log: JobLog
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._pattern = pattern
        self._rng = rng
        self._entry = entry
        self._log = log
        self._losses: list[TruncatedRange] = []
        self._last_time = entry.create_time_ns / 1e9

    async def read(
        self, offset: int = 0, *, follow: bool = True, source: int | None = None
    ) -> job_pb2.Job | None:
        """Read to the end; return the job, or None if it was deleted meanwhile."""
        request = stream_request(self._entry.job_id, offset=offset, follow=follow)
        if source:
            request.source = STDOUT if source == STDOUT else STDERR
        self._ledger.counts["streams"] += 1
        since, end = monotonic(), monotonic() + AWAY_SECONDS
        while True:
            try:
                job = await self._read_some(request)
                end = monotonic() + AWAY_SECONDS
            except JobNotFound:
                if not self._entry.delete_requested:
                    self._ledger.violation("an acknowledged job is not found", self._entry, "stream")
                return None
            except JobWorkerError as error:
                if not error.retryable or monotonic() > end:
                    raise
                job = None
                await asyncio.sleep(_PAUSE_SECONDS)
            except LogMismatch as error:
                self._ledger.violation("wrong output", self._entry, f"from {offset}: {error}")
                return None
            if job:
                break
        observe(self._ledger, job, since, "stream")
        self._check_losses(job.end_time.ToNanoseconds() / 1e9)
        return job

    async def _read_some(self, request: job_service_pb2.GetJobsStreamRequest) -> job_pb2.Job | None:
        """Read to the end or to an interruption; advance the request past the output that was read."""
        async with self._client.stream_from(request, on_event=self._on_event) as stream:
            try:
                async for chunk in stream:
                    self._accept(chunk)
                    if self._rng.random() < _INTERRUPTED * min(len(chunk.payload) / _SMALL_BYTES, 1):
                        self._ledger.counts["interrupted streams"] += 1
                        request.offset = chunk.next_offset
                        return None
            except JobWorkerError:
                request.CopyFrom(stream.request)
                raise
            return stream.result

    def _accept(self, chunk: Chunk) -> None:
        time = chunk.time.ToNanoseconds() / 1e9
        self._check_losses(time)
        self._log.add(chunk.offset, chunk.source, chunk.payload)
        self._ledger.counts["bytes"] += len(chunk.payload)
        self._last_time = time

    def _on_event(self, event: StreamEvent) -> None:
        if isinstance(event, TruncatedRange):
            self._losses.append(event)
        else:
            self._ledger.counts["reconnects"] += 1

    def _check_losses(self, until: float) -> None:
        """Check the losses before a chunk: the disk was full between the chunk before and this one."""
        for loss in self._losses:
            self._log.add_loss(loss.from_offset, loss.to_offset)
            self._ledger.counts["lost ranges"] += 1
            since = self._last_time - _CLOCK_SECONDS
            if not self._ledger.was_full(since, (until or float("inf")) + _CLOCK_SECONDS, wall=True):
                self._ledger.violation("output lost although the disk has space", self._entry, loss)
        self._losses.clear()

    async def read_whole(self, *, written: bool = False) -> None:
        """Read a log from its start to the end of the job, and compare it with the command.

        `written` says that the command has written all its output, also if it was stopped.
        """
        job = await self.read()
        if job is None:
            return
        plan = self._entry.plan
        self._ledger.counts["whole logs compared"] += 1
        self._entry.checked = True
        if self._log.lost and plan.kind is Kind.NOISY:
            return  # single bytes do not identify their place after a loss
        expected: dict[int, bytes] = {source: plan.expected(source, self._pattern) for source in SOURCES}
        try:
            complete = written or job.termination.reason in _BY_ITSELF
            self._log.check(expected, job.log_size, complete=complete)
        except LogMismatch as error:
            self._ledger.violation("wrong output", self._entry, error)
