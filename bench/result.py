"""What was measured, and the table that shows it."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """One line of the table: what each round gave, and what the median has to be."""

    case: str
    against: str
    values: Sequence[float]
    unit: str
    bound: float | None
    at_least: bool = True

    @property
    def median(self) -> float:
        """The value that counts."""
        return statistics.median(self.values)

    @property
    def kept(self) -> bool:
        """True if there is no bound, or the median keeps it."""
        if self.bound is None:
            return True
        return self.median >= self.bound if self.at_least else self.median <= self.bound

    def row(self) -> str:
        """Returns the line of the table."""
        bound = "as measured"
        if self.bound is not None:
            bound = f"{'at least' if self.at_least else 'at most'} {self.bound:g}"
            bound += "" if self.kept else ", **missed**"
        spread = f"{_spread(self.values)}" if len(self.values) > 1 else ""
        return f"| {self.case} | {self.against} | {self.median:.2f} {self.unit} | {spread} | {bound} |"


def table(results: Sequence[Result]) -> str:
    """Returns the table in Markdown."""
    head = "| case | measured against | median | spread | bound |\n|---|---|---|---|---|\n"
    return head + "".join(result.row() + "\n" for result in results)


def _spread(values: Sequence[float]) -> str:
    """Ten values or more: without the lowest and the highest tenth of them."""
    if len(values) < 10:
        return f"{min(values):.2f} to {max(values):.2f}"
    tenths = statistics.quantiles(values, n=10)
    return f"{tenths[0]:.2f} to {tenths[8]:.2f}"
