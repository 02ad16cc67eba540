"""Prometheus' text form: https://prometheus.io/docs/instrumenting/exposition_formats/"""

from collections.abc import Iterator, Mapping

from jobworker_agent.metrics.definitions import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Series = Mapping[tuple[str, ...], float]
"""The values of a metric by the values of its labels, in the order of the definition."""


def render(families: Mapping[Metric, Series]) -> str:
    """Return the metrics and their series as the body of a response."""
    return "".join(f"{line}\n" for metric, series in families.items() for line in _family(metric, series))


def _family(metric: Metric, series: Series) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.description}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for values, number in series.items():
        pairs = zip(metric.labels, values, strict=True)
        labels = ",".join(f'{name}="{_quoted(value)}"' for name, value in pairs)
        yield f"{metric.name}{{{labels}}} {number!r}" if labels else f"{metric.name} {number!r}"


def _quoted(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
