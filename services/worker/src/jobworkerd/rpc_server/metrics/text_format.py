"""Prometheus' text form and OpenMetrics, which differ little.

Names follow the mapping of OpenTelemetry: dots become underscores, the unit is a suffix, and counters end in
`_total`. A scrape gets OpenMetrics only if it asks for it: `promtool check metrics` reads the text form only.

https://prometheus.io/docs/instrumenting/exposition_formats/
https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from jobworkerd.metrics.definitions import Kind, Metric
from jobworkerd.metrics.instruments import Exemplar
from jobworkerd.rpc_server.metrics.merge import Report, Series

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_UNITS = {"s": "seconds", "By": "bytes"}


def content_type(accept: str) -> str:
    """Return the content type of a response for an Accept header."""
    return OPENMETRICS if "application/openmetrics-text" in accept else TEXT


def render(report: Report, form: str) -> str:
    """Return a report in one of the two content types. Only OpenMetrics has exemplars."""
    lines = [line for metric, series in report for line in _family(metric, series, form)]
    if form == OPENMETRICS:
        lines.append("# EOF")
    return "".join(f"{line}\n" for line in lines)


def prometheus_name(metric: Metric) -> str:
    """Return the name of a metric in Prometheus, without the suffixes of its kind."""
    name = metric.name.replace(".", "_")
    unit = _UNITS.get(metric.unit)
    return f"{name}_{unit}" if unit else name


def _family(metric: Metric, series: Iterable[Series], form: str) -> Iterator[str]:
    name = prometheus_name(metric)
    total = f"{name}_total" if metric.kind is Kind.COUNTER else name
    family = name if form == OPENMETRICS else total
    yield f"# HELP {family} {_escaped(metric.description, form)}"
    yield f"# TYPE {family} {metric.kind.value}"
    if form == OPENMETRICS and metric.unit in _UNITS:
        yield f"# UNIT {family} {_UNITS[metric.unit]}"
    bounds = [*map(_bound, metric.bounds), "+Inf"]
    for each in series:
        labels = _labels(metric, each)
        if metric.kind is Kind.HISTOGRAM:
            yield from _histogram(name, bounds, each, labels, form)
        else:
            yield f"{total}{_braces(labels)} {_number(each.sample.value)}"


def _histogram(name: str, bounds: Sequence[str], series: Series, labels: str, form: str) -> Iterator[str]:
    sample = series.sample
    counts = list(accumulate(sample.counts))
    before_bound = f"{name}_bucket{{{labels}," if labels else f"{name}_bucket{{"
    for bucket, (bound, count) in enumerate(zip(bounds, counts, strict=True)):
        exemplar = _exemplar(sample.exemplars.get(bucket)) if form == OPENMETRICS else ""
        yield f'{before_bound}le="{bound}"}} {count}{exemplar}'
    yield f"{name}_sum{_braces(labels)} {_number(sample.value)}"
    yield f"{name}_count{_braces(labels)} {counts[-1]}"


def _labels(metric: Metric, series: Series) -> str:
    """Return the labels of a series without braces."""
    own = zip(metric.attributes, series.sample.attributes, strict=True)
    pairs = (*own, *series.labels.items())
    return ",".join(f'{name.replace(".", "_")}="{_quoted(value)}"' for name, value in pairs)


def _braces(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""


def _bound(bound: float) -> str:
    """Return the label of a bucket. With another one, each form would have separate series."""
    return repr(float(bound))


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(value)


def _exemplar(exemplar: Exemplar | None) -> str:
    if exemplar is None:
        return ""
    return f' # {{trace_id="{_quoted(exemplar.trace_id)}"}} {exemplar.value!r} {exemplar.time:.3f}'


def _quoted(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _escaped(text: str, form: str) -> str:
    """Escape a help text. Only OpenMetrics escapes quotation marks in it."""
    return _quoted(text) if form == OPENMETRICS else text.replace("\\", r"\\").replace("\n", r"\n")
