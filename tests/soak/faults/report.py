"""The result of a run for people, and for docs/benchmarks.md."""

import statistics
from collections.abc import Iterator

from tests.soak.faults.ledger import Ledger

_COUNTS = (
    "faults",
    "jobs",
    "commands",
    "calls",
    "repeated calls",
    "streams",
    "interrupted streams",
    "reconnects",
    "bytes",
    "whole logs compared",
    "complete lists",
    "waits seen",
    "updates",
    "stops",
    "deleted",
    "refused: disk full",
    "refused: too many jobs",
    "lost ranges",
    "kills between a move and its record",
)


def lines(ledger: Ledger, seconds: float) -> Iterator[str]:
    """Yield the lines of the report."""
    yield f"seed {ledger.seed}, {seconds:.0f} s"
    for name in _COUNTS:
        yield f"{name}: {ledger.counts[name]:,}"
    for name, count in sorted(ledger.counts.items()):
        if name.startswith("fault: "):
            yield f"{name}: {count}"
    for name, times in sorted(ledger.recoveries.items()):
        if ", " not in name:
            yield f"answers after {name}: median {statistics.median(times):.2f} s, max {max(times):.2f} s"
    yield f"violations: {len(ledger.violations)}"
    yield from ledger.violations


def table(ledger: Ledger, seconds: float) -> Iterator[str]:
    """Yield the rows for docs/benchmarks.md."""
    yield "| fault | number | next answer, median | max |"
    yield "|---|---|---|---|"
    for name, times in sorted(ledger.recoveries.items()):
        if ", " not in name:
            number = ledger.counts[f"fault: {name}"]
            yield f"| {name} | {number} | {statistics.median(times):.2f} s | {max(times):.2f} s |"
    counts = ledger.counts
    yield ""
    yield (
        f"{seconds:.0f} s, seed {ledger.seed}: {counts['faults']} faults, {counts['jobs']:,} jobs, "
        f"{counts['calls']:,} calls, {counts['streams']:,} streams, "
        f"{counts['bytes'] / 1e6:,.0f} MB of output, {len(ledger.violations)} violations."
    )
