"""Merges the samples of the supervisor and of all API processes into one report."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from jobworkerd.metrics.definitions import ALL, API_PROCESS_UP, BY_NAME, Metric
from jobworkerd.metrics.instruments import Sample, Snapshot, sample

_API_PROCESS = "api_process"


class Series(NamedTuple):
    """A sample with all its labels."""

    labels: Mapping[str, str]
    sample: Sample


Report = Sequence[tuple[Metric, Sequence[Series]]]
"""The series of each metric that has any."""


def merge(supervisor: Snapshot, api_processes: Sequence[Snapshot | None]) -> Report:
    """Return the series of all processes. Those of API processes have the label `api_process`.

    The number of an API process is its index. None stands for a process that has not answered. Samples that
    do not fit the definition of their metric are left out, so that a faulty process does not spoil all.
    """
    found: dict[str, list[Series]] = defaultdict(list)
    _add(found, supervisor.samples, {})
    for number, snapshot in enumerate(api_processes):
        up = sample(API_PROCESS_UP, int(snapshot is not None))
        samples = snapshot.samples if snapshot else ()
        _add(found, (up, *samples), {_API_PROCESS: str(number)})
    return [(metric, found[metric.name]) for metric in ALL if metric.name in found]


def _add(found: dict[str, list[Series]], samples: Iterable[Sample], more: Mapping[str, str]) -> None:
    for each in samples:
        if _fits(each):
            found[each.metric].append(Series(more, each))


def _fits(sample: Sample) -> bool:
    metric = BY_NAME.get(sample.metric)
    if metric is None or len(sample.attributes) != len(metric.attributes):
        return False
    return len(sample.counts) == (len(metric.bounds) + 1 if metric.bounds else 0)
