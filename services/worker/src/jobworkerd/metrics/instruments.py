"""Records measurements and takes samples of them. Nothing here blocks, or grows with the number of jobs."""

import time
from bisect import bisect_left
from collections.abc import Iterator

import msgspec

from jobworkerd.metrics.definitions import Metric


class Exemplar(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One measurement of a bucket, with its trace. `time` is in seconds since the epoch."""

    value: float
    time: float
    trace_id: str


class Sample(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The state of one series of a metric. `attributes` has the values in the order of the definition.

    The `value` of a histogram is the sum of its measurements. `counts` has the measurements per bucket, and
    the last bucket is unbounded. `exemplars` has the newest exemplar per bucket.
    """

    metric: str
    value: int | float
    attributes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    exemplars: dict[int, Exemplar] = {}


class Snapshot(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The samples of one process at one time, and the time since which it counts, in ns since the epoch."""

    start_time_ns: int
    samples: tuple[Sample, ...]


_DECODER = msgspec.msgpack.Decoder(Snapshot)


def encode(snapshot: Snapshot) -> bytes:
    """Encode a snapshot for another process of the server."""
    return msgspec.msgpack.encode(snapshot)


def decode(data: bytes) -> Snapshot:
    """Decode a snapshot.

    Raises:
        msgspec.DecodeError: the data are not a snapshot.
    """
    return _DECODER.decode(data)


class _Series:
    """The measurements with the same attributes."""

    def __init__(self, buckets: int) -> None:
        self.sum = 0.0
        self.counts = [0] * buckets
        self.exemplars: dict[int, Exemplar] = {}


class Histogram:
    """Counts measurements per bucket. The caller bounds the number of different attributes."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._series: dict[tuple[str, ...], _Series] = {}
        if not metric.attributes:
            self._of(())

    def record(self, value: float, *attributes: str, trace_id: str = "") -> None:
        """Count a measurement. `trace_id` is its trace, if that is sampled, in hexadecimal digits."""
        series = self._of(attributes)
        bucket = bisect_left(self._metric.bounds, value)
        series.sum += value
        series.counts[bucket] += 1
        if trace_id:
            series.exemplars[bucket] = Exemplar(value, time.time(), trace_id)

    def _of(self, attributes: tuple[str, ...]) -> _Series:
        if (found := self._series.get(attributes)) is None:
            found = self._series[attributes] = _Series(len(self._metric.bounds) + 1)
        return found

    def samples(self) -> Iterator[Sample]:
        """Yield a sample per series."""
        for attributes, series in self._series.items():
            yield Sample(
                self._metric.name, series.sum, attributes, tuple(series.counts), dict(series.exemplars)
            )


def sample(metric: Metric, value: float, *attributes: str) -> Sample:
    """Return a sample of a counter or a gauge."""
    return Sample(metric.name, value, attributes)
