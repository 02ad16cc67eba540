"""The table of metrics in docs/observability.md has every metric of the server."""

from pathlib import Path

import pytest

from jobworkerd.metrics.definitions import ALL, Kind, Metric
from jobworkerd.rpc_server.metrics.text_format import prometheus_name

ROOT = Path(__file__).parents[3]
DOCUMENTATION = (ROOT / "docs/observability.md").read_text().splitlines()


def row(metric: Metric) -> str:
    """Return the row of a metric."""
    name = prometheus_name(metric) + ("_total" if metric.kind is Kind.COUNTER else "")
    labels = ", ".join(f"`{each.replace('.', '_')}`" for each in metric.attributes)
    cells = (f"`{metric.name}`", f"`{name}`", metric.kind.value, labels, metric.description)
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_the_documentation_has_the_row(metric: Metric) -> None:
    assert row(metric) in DOCUMENTATION


def test_the_documentation_has_no_other_metric() -> None:
    rows = [line for line in DOCUMENTATION if line.startswith(("| `jobworker.", "| `rpc.", "| `process."))]
    assert len([line for line in rows if line.count("|") == 6]) == len(ALL)
