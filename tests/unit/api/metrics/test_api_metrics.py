"""The metrics of an API process."""

import pytest

from jobworkerd.api.metrics import api_metrics
from jobworkerd.api.metrics.api_metrics import ApiMetrics
from jobworkerd.errors import JobNotFound, ReaderStalled
from jobworkerd.metrics.definitions import CERTIFICATE_EXPIRY, READER_ACTIVE, READER_STALLS, Metric
from jobworkerd.metrics.instruments import decode


def values(metrics: ApiMetrics, metric: Metric) -> dict[str, float]:
    samples = decode(metrics.encoded()).samples
    return {",".join(each.attributes): each.value for each in samples if each.metric == metric.name}


def test_readers_count_until_they_end() -> None:
    metrics = ApiMetrics()
    with metrics.readers.reading(), metrics.readers.reading():
        assert values(metrics, READER_ACTIVE) == {"": 2}
    assert values(metrics, READER_ACTIVE) == {"": 0}


def test_only_readers_that_are_cut_off_are_stalls() -> None:
    metrics = ApiMetrics()
    for error in (ReaderStalled("j", 5), JobNotFound("j")):
        with pytest.raises(type(error)), metrics.readers.reading():
            raise error
    assert values(metrics, READER_STALLS) == {"": 1}
    assert values(metrics, READER_ACTIVE) == {"": 0}


def test_certificates_have_their_expiry() -> None:
    metrics = ApiMetrics()
    assert values(metrics, CERTIFICATE_EXPIRY) == {}
    metrics.expiries = lambda: {"server": 1.5, "ca": 2.5}
    assert values(metrics, CERTIFICATE_EXPIRY) == {"server": 1.5, "ca": 2.5}


def test_a_snapshot_that_is_too_large_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor would end the connection."""
    monkeypatch.setattr(api_metrics, "MAX_METRICS_BYTES", 10)
    assert ApiMetrics().encoded() == b""
