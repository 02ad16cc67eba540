"""Each warning and error of the agent is described in docs/operations.md."""

import ast
from pathlib import Path

import jobworker_agent

PACKAGE = Path(jobworker_agent.__file__).parent
PAGE = Path(__file__).parents[3] / "docs/operations.md"
LEVELS = {"warning", "error", "exception"}


def _messages() -> set[str]:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in LEVELS
            ):
                found.add(ast.literal_eval(node.args[0]))
    return found


def test_the_table_has_exactly_the_messages_of_the_agent() -> None:
    section = PAGE.read_text().split("### Messages of the agent")[1].split("\n#")[0]
    rows = {line.split("`")[1] for line in section.splitlines() if line.startswith("| `")}
    assert rows == _messages()
