"""Measurements and their table."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """One line of the table: the value of each round, and the bound of the median."""

    case: str
    against: str
    values: Sequence[float]
    unit: str
    bound: float | None
    at_least: bool = True

    @property
    def median(self) -> float:
        """The median of the rounds, which the bound applies to."""
        return statistics.median(self.values)

    @property
    def kept(self) -> bool:
        """Whether the median keeps the bound, if there is one."""
        if self.bound is None:
            return True
        return self.median >= self.bound if self.at_least else self.median <= self.bound

    def row(self) -> str:
        """Return the line of the table."""
        bound = "as measured"
        if self.bound is not None:
            bound = f"{'at least' if self.at_least else 'at most'} {self.bound:g}"
            bound += "" if self.kept else ", **missed**"
        spread = f"{_spread(self.values)}" if len(self.values) > 1 else ""
        return f"| {self.case} | {self.against} | {self.median:.2f} {self.unit} | {spread} | {bound} |"


def table(results: Sequence[Result]) -> str:
    """Return the table in Markdown."""
    head = "| case | measured against | median | spread | bound |\n|---|---|---|---|---|\n"
    return head + "".join(result.row() + "\n" for result in results)


def _spread(values: Sequence[float]) -> str:
    """Return the range of the values, without the lowest and the highest tenth of ten values or more."""
    if len(values) < 10:
        return f"{min(values):.2f} to {max(values):.2f}"
    tenths = statistics.quantiles(values, n=10)
    return f"{tenths[0]:.2f} to {tenths[8]:.2f}"
