"""The spans of final jobs, until an API process has exported them."""

import asyncio
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from jobworkerd.model import Job
from jobworkerd.supervisor.event_log import EventLog

MAX_UNSENT = 2_000
"""Spans that wait, about 3 MB. If more jobs end before a collector accepts spans, the oldest are dropped."""

MAX_SENT = 500
"""Spans that one API process has not acknowledged, so that a stopped process does not fill the memory."""

MAX_COMMAND = 256
"""Characters of the command in a span. Its arguments can contain secrets."""

_REPORT_SECONDS = 10.0
"""Dropped spans are counted for this time before one line reports them."""

Send = Callable[[Job], None]
"""Sends the final job to an API process."""


class JobSpans:
    """Lets one API process export the span of each final job: the oldest that exports spans.

    If that process ends, the next one gets every span that was not acknowledged. All API processes have the
    same settings, so spans are kept only until the first process says that it exports none.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, log: EventLog) -> None:
        self._loop = loop
        self._log = log
        self._unsent: dict[str, Job] = {}
        self._sent: dict[str, Job] = {}
        self._left_by_last = 0
        """Number of the first spans of `_unsent` that the last API process got before it ended."""
        self._exporters: list[Send] = []
        self._none_exports = False
        self._dropped = 0
        self._reporting: asyncio.TimerHandle | None = None

    def ended(self, job: Job) -> None:
        """Have the span of a final job exported, if it has one."""
        if not job.trace or not job.trace.span_id or self._none_exports:
            return
        if len(self._unsent) >= MAX_UNSENT:
            self._drop_oldest()
        self._unsent[job.id] = _without_details(job)
        self._send()

    def connected(self, send: Send, *, exports: bool) -> None:
        """Add an API process that serves."""
        if exports and send not in self._exporters:
            self._none_exports = False
            self._exporters.append(send)
            self._send()
        elif not exports and not self._exporters:
            self._none_exports = True
            self._unsent.clear()
            self._left_by_last = 0

    def disconnected(self, send: Send) -> None:
        """Remove an API process, and send its spans to the next one."""
        if send in self._exporters:
            if send == self._exporters[0]:
                self._unsent = self._sent | self._unsent
                self._left_by_last = len(self._sent)
                self._sent = {}
            self._exporters.remove(send)
            self._send()

    def exported(self, job_ids: Iterable[str]) -> None:
        """Forget spans that are exported, or that the API process has dropped and reported."""
        for job_id in job_ids:
            self._sent.pop(job_id, None)
        self._send()

    def _send(self) -> None:
        while self._exporters and self._unsent and len(self._sent) < MAX_SENT:
            job_id = next(iter(self._unsent))
            self._sent[job_id] = job = self._unsent.pop(job_id)
            self._left_by_last = max(self._left_by_last - 1, 0)
            self._exporters[0](job)

    def _drop_oldest(self) -> None:
        del self._unsent[next(iter(self._unsent))]
        self._left_by_last = max(self._left_by_last - 1, 0)
        self._dropped += 1
        if self._reporting is None:
            self._reporting = self._loop.call_later(_REPORT_SECONDS, self._report)

    def _report(self) -> None:
        self._reporting = None
        self._log.warning("job spans dropped", count=self._dropped)
        self._dropped = 0

    def close(self) -> None:
        """Report the dropped spans, and those that no API process got. A process reports its own losses."""
        self._dropped += len(self._unsent) - self._left_by_last
        self._unsent.clear()
        self._left_by_last = 0
        if self._reporting:
            self._reporting.cancel()
        if self._dropped:
            self._report()


def _without_details(job: Job) -> Job:
    """Return a job with a bounded size."""
    spec = replace(job.spec, command=job.spec.command[:MAX_COMMAND], args=(), env={}, labels={})
    return replace(job, spec=spec, applied_limits=(), applied_isolation=(), terminal_resizes=())
