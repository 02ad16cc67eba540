"""The result of a run for people, and for docs/benchmarks.md."""

from collections.abc import Iterator

from tests.cluster.faults.ledger import Ledger


def lines(ledger: Ledger, seconds: float) -> Iterator[str]:
    """Yield the lines of the report."""
    yield f"seed {ledger.seed}, {seconds:.0f} s"
    for name, count in sorted(ledger.counts.items()):
        yield f"{name}: {count:,}"
    yield f"violations: {len(ledger.violations)}"
    yield from ledger.violations
