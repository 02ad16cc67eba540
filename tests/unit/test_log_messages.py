"""docs/operations.md describes every message that the server or a gateway logs at WARN or ERROR.

The messages are those of the calls in the code: `log.warning("no cgroups")` and `on_fault("kill", error)`,
which logs the error `fault` of the step `kill`.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jobworker_gateway
import jobworkerd

PACKAGES = [Path(package.__path__[0]) for package in (jobworkerd, jobworker_gateway)]
PAGE = Path(__file__).parents[2] / "docs/operations.md"
AGENT = "### Messages of the agent"
LEVELS = {"warning": "WARN", "warn": "WARN", "error": "ERROR", "exception": "ERROR", "critical": "ERROR"}
STEPS = {"on_fault", "_on_fault", "attempt"}
NOTES = {"note", "_note"}
# Functions that pass the message of their caller on. The calls of these functions are checked.
FORWARDING = {
    "supervisor/event_log.py": {"note"},
    "supervisor/job_context.py": {"attempt"},
    "keeper/client.py": {"_handle"},
    "keeper/program.py": {"_note"},
}
# Messages of libraries, with the description that the page has of them.
OF_LIBRARIES = {("context['message']", "messages of asyncio")}


class Message(NamedTuple):
    """A message in the table: its text, the step of a `fault`, or a description."""

    text: str
    level: str


class Call(NamedTuple):
    """A logging call in the code."""

    place: str
    message: Message | None
    source: str


def calls() -> Iterator[Call]:
    """Yield all logging calls. The message is None if it is not a literal or a constant."""
    modules = {
        path: (str(path.relative_to(package)), ast.parse(path.read_text()))
        for package in PACKAGES
        for path in sorted(package.rglob("*.py"))
    }
    constants = {name: value for _, tree in modules.values() for name, value in module_constants(tree)}
    for name, tree in modules.values():
        for node in walk(tree, FORWARDING.get(name, set())):
            if isinstance(node, ast.Call) and (found := logged(node, constants)):
                message, expression = found
                yield Call(f"{name}:{node.lineno}", message, ast.unparse(expression))


def module_constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(name)], value=ast.Constant(str(value))):
                yield name, value


def walk(tree: ast.AST, left_out: set[str]) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and child.name in left_out:
            continue
        yield child
        yield from walk(child, left_out)


def logged(call: ast.Call, constants: dict[str, str]) -> tuple[Message | None, ast.expr] | None:
    """Return the message of a call and its expression; None if the call logs nothing at these levels."""
    match call:
        case ast.Call(func=ast.Attribute(attr="send"), args=[ast.Constant("note"), event, *_]):
            name = "note"
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=[event, *_]):
            pass
        case _:
            return None
    text = constant(event, constants)
    if name in STEPS:
        return (Message(f"fault: {text}", "ERROR") if text else None), event
    if name in NOTES:
        level = "ERROR" if text == constants["RELOAD_FAILED"] else "WARN"
        return (Message(text, level) if text else None), event
    if name not in LEVELS:
        return None
    if text != "fault":
        return (Message(text, LEVELS[name]) if text else None), event
    return fault(call)


def fault(call: ast.Call) -> tuple[Message | None, ast.expr] | None:
    """Return the step of a fault; None if the caller of a callback names it."""
    for keyword in call.keywords:
        match keyword:
            case ast.keyword(arg="step", value=ast.Constant(str(step))):
                return Message(f"fault: {step}", "ERROR"), keyword.value
            case ast.keyword(arg="request"):
                return Message("fault: request", "ERROR"), keyword.value
    return None


def constant(node: ast.expr, constants: dict[str, str]) -> str:
    match node:
        case ast.Constant(str(text)):
            return text
        case ast.Name(name) | ast.Attribute(attr=name):
            return constants.get(name, "")
    return ""


def table() -> str:
    """Return the page without the messages of the agent, which another test compares."""
    return PAGE.read_text().partition(AGENT)[0]


def documented() -> set[Message]:
    """Return the first two cells of each row of the table."""
    rows = re.findall(r"^\| ([^|]+) \| (WARN|ERROR) \|", table(), flags=re.MULTILINE)
    return {Message(re.sub(r"`, step `", ": ", text).replace("`", ""), level) for text, level in rows}


def in_code() -> set[Message]:
    of_libraries = dict(OF_LIBRARIES)
    found = set()
    for call in calls():
        if call.message:
            found.add(call.message)
        elif call.source in of_libraries:
            found.add(Message(of_libraries[call.source], "ERROR"))
    return found


def test_every_message_is_documented() -> None:
    missing = sorted(in_code() - documented())
    places = {call.message: call.place for call in calls() if call.message}
    rows = [
        f"| {cell(each)} | {each.level} | CAUSE | CURE |  (logged in {places.get(each)})" for each in missing
    ]
    assert not rows, f"add these rows to the table in {PAGE.name}, in alphabetical order:\n" + "\n".join(rows)


def test_every_documented_message_is_logged() -> None:
    left = sorted(documented() - in_code())
    assert not left, f"no code logs these messages; remove their rows from {PAGE.name}: {left}"


def test_every_message_is_a_literal() -> None:
    accepted = {source for source, _ in OF_LIBRARIES}
    dynamic = [
        f"{call.place}: {call.source}"
        for call in calls()
        if call.message is None and call.source not in accepted and not is_request(call)
    ]
    assert not dynamic, (
        f"write the message of each call as a string, so that {PAGE.name} can have it: {dynamic}"
    )


def is_request(call: Call) -> bool:
    """Whether the fault is that of a request, whose name is its step."""
    return call.source == "type(request.body).__name__"


def test_the_rows_are_sorted() -> None:
    rows = re.findall(r"^\| `([^|]+)` \| (?:WARN|ERROR) \|", table(), flags=re.MULTILINE)
    assert rows == sorted(rows)


def cell(message: Message) -> str:
    name, _, step = message.text.partition(": ")
    return f"`{name}`, step `{step}`" if name == "fault" else f"`{message.text}`"
