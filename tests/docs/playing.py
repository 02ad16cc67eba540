"""Running the blocks of a page one after the other, as a reader would in one shell.

The variables that a block of shell sets are there for all later blocks, of whatever language. A command is
expected to exit with 0, or as a comment on its line says: `# … exits with 3`.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.pages import Block, Use, blocks

SECONDS = 60
_PROMISE = re.compile(r"#.*\bexits with (\d+)")
# All on the line before the block's first, so that LINENO is right. Command substitutions and functions do
# not inherit the trap: the command that they are a part of is the one that counts.
_PROLOGUE = """set -a -o pipefail; trap 'echo "$(($LINENO - 1)) $?" >&3' ERR"""
_EPILOGUE = "trap - ERR\nenv -0 >&4"


class Wrong(AssertionError):
    """A block that has no verdict, or does not do what the page says; the message has its place."""


@dataclass
class Session:
    """One reader's shell: a folder to be in, and the environment that the blocks leave behind."""

    folder: Path
    environment: dict[str, str]
    runners: Mapping[str, "Runner"] = field(default_factory=lambda: RUNNERS)

    def play(self, page: Path) -> None:
        """Runs a page.

        Raises:
            Wrong: it is not as it says.
        """
        printed = ""
        for block in blocks(page):
            match block.use:
                case Use.NOT_RUN:
                    continue
                case Use.OUTPUT:
                    _compare(block, printed)
                case Use.RUN:
                    printed = self._run(block)

    def _run(self, block: Block) -> str:
        runner = self.runners.get(block.language)
        if runner is None:
            raise Wrong(
                f"{block.place}: a block in {block.language or 'no language'!r} has no verdict: write it in "
                f"one of {sorted(self.runners)}, or say before it why it is not run: <!-- not run: … -->"
            )
        return runner(block, self)


Runner = Callable[[Block, Session], str]
"""Runs a block and returns what it printed; raises Wrong."""


def shell(block: Block, session: Session) -> str:
    """Runs a block with bash, and keeps its variables."""
    script = session.folder / "block.sh"
    failures, environment = session.folder / "failures", session.folder / "environment"
    script.write_text(f"{_PROLOGUE}\n{block.code}{_EPILOGUE}\n")
    # bash opens both files itself: the block's own programs do not hold them beyond its end.
    done = run(["bash", "-c", 'exec bash "$0" 3>"$1" 4>"$2"', script, failures, environment], block, session)
    pairs = (line.split() for line in failures.read_text().splitlines())
    found = {int(number): int(code) for number, code in pairs}
    if found != promised(block.code) or done.returncode:
        raise Wrong(f"{block.place}: exit codes by line {found}, not {promised(block.code)}\n{done.stdout}")
    variables = (each.partition("=") for each in environment.read_text().split("\0") if each)
    session.environment = {name: value for name, _, value in variables}
    return done.stdout


def python(block: Block, session: Session) -> str:
    """Runs a block as a program in Python."""
    script = session.folder / "block.py"
    script.write_text(block.code)
    done = run([sys.executable, "-W", "error", script], block, session)
    if done.returncode:
        raise Wrong(f"{block.place}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


RUNNERS: Mapping[str, Runner] = {"sh": shell, "python": python}


def run(argv: list[str | Path], block: Block, session: Session) -> "subprocess.CompletedProcess[str]":
    """Runs a program for a block, with stderr among what it prints."""
    try:
        return subprocess.run(
            argv,
            cwd=session.folder,
            env=session.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise Wrong(f"{block.place}: still running after {SECONDS} s\n{late.output}") from late


def promised(code: str) -> dict[int, int]:
    """Returns the exit codes that comments announce, by the line of the block."""
    found = ((number, _PROMISE.search(line)) for number, line in enumerate(code.splitlines(), 1))
    return {number: int(promise[1]) for number, promise in found if promise}


def _compare(block: Block, printed: str) -> None:
    pattern = ".*?".join(map(re.escape, block.code.strip().split("…")))
    if not re.fullmatch(pattern, printed.strip(), re.DOTALL):
        raise Wrong(f"{block.place}: it printed\n{printed}")
