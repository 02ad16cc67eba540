"""The interop matrix: one row per scenario, one column per client."""

from collections.abc import Mapping

from tests.interop.clients.registry import CLIENTS, ClientKind
from tests.interop.scenarios.table import SCENARIOS, Scenario

Outcomes = Mapping[tuple[str, str], str]
"""The outcomes of the cells that ran, by the names of client and scenario."""

_LABELS = {"passed": "ok", "failed": "FAILED", "error": "ERROR"}


def render(outcomes: Outcomes) -> str:
    """Return the matrix, followed by the reasons of the cells that do not apply."""
    reasons: list[str] = []
    rows = [["", *(kind.name for kind in CLIENTS)]]
    for scenario in SCENARIOS:
        row = [_cell(scenario, kind, outcomes, reasons) for kind in CLIENTS]
        rows.append([scenario.name, *row])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    notes = [f"({number}) not applicable: {reason}" for number, reason in enumerate(reasons, 1)]
    return "\n".join(line.rstrip() for line in [*lines, "", *notes]) + "\n"


def _cell(scenario: Scenario, kind: ClientKind, outcomes: Outcomes, reasons: list[str]) -> str:
    if reason := scenario.not_applicable(kind):
        if reason not in reasons:
            reasons.append(reason)
        return f"n/a ({reasons.index(reason) + 1})"
    return _LABELS.get(outcomes.get((kind.name, scenario.name), ""), "-")
