"""The metrics that one API process records."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from jobworkerd.errors import ReaderStalled
from jobworkerd.metrics import process_usage
from jobworkerd.metrics.definitions import CERTIFICATE_EXPIRY, READER_ACTIVE, READER_STALLS, RPC_DURATION
from jobworkerd.metrics.instruments import Histogram, Sample, Snapshot, decode, encode, sample
from jobworkerd.protocol.client import SupervisorClient
from jobworkerd.protocol.metrics_messages import MAX_METRICS_BYTES


class ReaderCounts:
    """Counts the clients that stream a log, and those that were cut off."""

    def __init__(self) -> None:
        self.active = 0
        self.stalls = 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Count a reader while this context is active, and that it was cut off if that ends the context."""
        self.active += 1
        try:
            yield
        except ReaderStalled:
            self.stalls += 1
            raise
        finally:
            self.active -= 1


class ApiMetrics:
    """The metrics of this API process."""

    def __init__(self) -> None:
        self.readers = ReaderCounts()
        self.rpc_durations = Histogram(RPC_DURATION)
        self.expiries: Callable[[], Mapping[str, float]] = dict
        """Returns when each certificate in use expires, in seconds since the epoch."""
        self._start_time_ns = time.time_ns()

    def snapshot(self) -> Snapshot:
        """Return all samples of this process."""
        return Snapshot(self._start_time_ns, tuple(self._samples()))

    def encoded(self) -> bytes:
        """Return an encoded snapshot for the supervisor; empty if it is too large."""
        encoded = encode(self.snapshot())
        return encoded if len(encoded) <= MAX_METRICS_BYTES else b""

    async def for_export(self, supervisor: SupervisorClient) -> tuple[Snapshot, Snapshot | None]:
        """Return the snapshots of this process and of the supervisor; None if another process exports that.

        Raises:
            JobWorkerError: the supervisor does not answer.
        """
        encoded = (await supervisor.export_metrics()).supervisor
        return self.snapshot(), decode(encoded) if encoded else None

    def _samples(self) -> Iterator[Sample]:
        yield from self.rpc_durations.samples()
        yield sample(READER_ACTIVE, self.readers.active)
        yield sample(READER_STALLS, self.readers.stalls)
        for certificate, expiry in self.expiries().items():
            yield sample(CERTIFICATE_EXPIRY, expiry, certificate)
        yield from process_usage.samples("api")
