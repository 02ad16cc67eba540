"""Histograms, and snapshots that are sent to another process."""

import pytest
from msgspec import DecodeError

from jobworkerd.metrics.definitions import ALL, JOB_DURATION, JOB_START_DURATION, LOG_WRITTEN, Kind
from jobworkerd.metrics.instruments import Histogram, Snapshot, decode, encode, sample


def test_a_measurement_counts_in_the_first_bucket_that_includes_it() -> None:
    histogram = Histogram(JOB_DURATION)
    for seconds in (0.0, 0.1, 0.1000001, 86_400, 1e9):
        histogram.record(seconds, "completed")
    (found,) = histogram.samples()
    assert found.counts == (2, 1, *[0] * (len(JOB_DURATION.bounds) - 3), 1, 1)
    assert found.value == pytest.approx(sum((0.1, 0.1000001, 86_400, 1e9)))
    assert found.attributes == ("completed",)


def test_a_histogram_without_attributes_has_a_series_before_its_first_measurement() -> None:
    (found,) = Histogram(JOB_START_DURATION).samples()
    assert sum(found.counts) == 0
    assert list(Histogram(JOB_DURATION).samples()) == []


def test_each_bucket_keeps_its_newest_exemplar() -> None:
    histogram = Histogram(JOB_START_DURATION)
    histogram.record(0.002, trace_id="a" * 32)
    histogram.record(0.002, trace_id="b" * 32)
    histogram.record(0.002)
    histogram.record(20)
    (found,) = histogram.samples()
    assert {bucket: each.trace_id for bucket, each in found.exemplars.items()} == {1: "b" * 32}


def test_samples_do_not_change_with_later_measurements() -> None:
    histogram = Histogram(JOB_START_DURATION)
    (before,) = histogram.samples()
    histogram.record(0.002, trace_id="a" * 32)
    assert (sum(before.counts), before.exemplars) == (0, {})


def test_snapshots_survive_the_way_to_another_process() -> None:
    histogram = Histogram(JOB_START_DURATION)
    histogram.record(0.002, trace_id="a" * 32)
    given = Snapshot(7, (*histogram.samples(), sample(LOG_WRITTEN, 2**60 + 1)))
    found = decode(encode(given))
    assert found == given
    assert isinstance(found.samples[1].value, int), "a float would lose the last digits"
    with pytest.raises(DecodeError):
        decode(b"\xc1")


def test_names_are_acceptable_to_prometheus() -> None:
    """`promtool check metrics` rejects a gauge whose name ends in `.count`."""
    assert len({metric.name for metric in ALL}) == len(ALL)
    for metric in ALL:
        assert not metric.name.endswith((".count", ".total", ".sum")), metric.name
        assert metric.description.endswith(".")
        assert (metric.kind is Kind.HISTOGRAM) == bool(metric.bounds)
        assert list(metric.bounds) == sorted(metric.bounds)
