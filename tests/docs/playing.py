"""Runs the blocks of a page in order, as a reader would in one shell."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import Block, Use, blocks


class Wrong(AssertionError):
    """A block without a verdict, or one that does not do what the page says, with its location."""


@dataclass
class Session:
    """A reader's shell: the working directory and the environment that blocks change."""

    folder: Path
    environment: dict[str, str]
    runners: Mapping[str, "Runner"]

    def play(self, page: Path) -> None:
        """Run a page.

        Raises:
            Wrong: the page does not do what it says.
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
"""Run a block and return its output; raises Wrong."""


def _compare(block: Block, printed: str) -> None:
    pattern = ".*?".join(map(re.escape, block.code.strip().split("…")))
    if not re.fullmatch(pattern, printed.strip(), re.DOTALL):
        raise Wrong(f"{block.place}: it printed\n{printed}")
