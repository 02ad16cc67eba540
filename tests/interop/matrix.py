"""The matrix: a row a scenario, a column a client."""

from collections.abc import Mapping

from tests.interop.clients.registry import CLIENTS, ClientKind
from tests.interop.scenarios.table import SCENARIOS, Scenario

Cells = Mapping[tuple[str, str], str]
"""How the cells that were played came out, by the names of client and scenario."""

_SIGNS = {"passed": "ok", "failed": "FAILED", "error": "ERROR"}


def render(cells: Cells) -> str:
    """Returns the matrix, with the reasons why some cells cannot be played."""
    reasons: list[str] = []
    rows = [["", *(kind.name for kind in CLIENTS)]]
    for scenario in SCENARIOS:
        row = [_cell(scenario, kind, cells, reasons) for kind in CLIENTS]
        rows.append([scenario.name, *row])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    notes = [f"({number}) not applicable: {reason}" for number, reason in enumerate(reasons, 1)]
    return "\n".join(line.rstrip() for line in [*lines, "", *notes]) + "\n"


def _cell(scenario: Scenario, kind: ClientKind, cells: Cells, reasons: list[str]) -> str:
    if reason := scenario.obstacle(kind):
        if reason not in reasons:
            reasons.append(reason)
        return f"n/a ({reasons.index(reason) + 1})"
    return _SIGNS.get(cells.get((kind.name, scenario.name), ""), "-")
