"""Wait for the end of a job over as many calls as needed.

Makes no calls, and takes the time as an argument.
"""

from google.protobuf.duration_pb2 import Duration

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_client.errors import JobWorkerError
from jobworker_client.events import EventHandler, Reconnecting
from jobworker_client.retry_policy import CallRetry, RetryPolicy, StreamRetry

__all__ = ["JobWait"]


class JobWait:
    """State of one wait; `now` is a monotonic time in seconds.

    The first request returns at once, so that an unknown id or an unreachable server is reported as early as
    by other calls. Later requests return at the end of the job. They are retried for `resume_timeout` while
    the server is unavailable.
    """

    def __init__(
        self,
        job_id: str,
        now: float,
        *,
        deadline: float | None = None,
        on_event: EventHandler | None = None,
        policy: RetryPolicy = RetryPolicy(),  # noqa: B008 - immutable
    ) -> None:
        self.job: job_pb2.Job | None = None
        self._job_id = job_id
        self._end = None if deadline is None else now + deadline
        self._on_event = on_event
        self._first_retry = CallRetry(policy, deadline, now)
        self._later_retry = StreamRetry(policy)
        self._answered = False

    def next_request(self, now: float) -> tuple[job_service_pb2.WaitJobRequest, float | None]:
        """Return the request for the next call and the timeout of the call in seconds."""
        self._later_retry.start_call(now)
        request = job_service_pb2.WaitJobRequest(id=self._job_id)
        if not self._answered:
            request.timeout.CopyFrom(Duration())
        return request, None if self._end is None else max(0.0, self._end - now)

    def receive(self, response: job_service_pb2.WaitJobResponse) -> None:
        """Process a response; `job` is set if the job has ended."""
        self._answered = True
        self._later_retry.made_progress()
        if response.done:
            self.job = response.job

    def next_delay(self, error: JobWorkerError, now: float) -> float:
        """Return the delay in seconds before the next call, after a call that failed with `error`.

        Raises:
            JobWorkerError: `error` is not retryable, or the time for retries is over.
        """
        retry = self._later_retry if self._answered else self._first_retry
        delay = retry.next_delay(error, now)
        if self._on_event is not None and retry.retries == 1:
            self._on_event(Reconnecting(error, None))
        return delay if self._end is None else max(0.0, min(delay, self._end - now))
