"""Running the blocks of a page one after the other, as a reader would in one shell."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import Block, Use, blocks


class Wrong(AssertionError):
    """A block that has no verdict, or does not do what the page says; the message has its place."""


@dataclass
class Session:
    """One reader's shell: a folder to be in, and the environment that the blocks leave behind."""

    folder: Path
    environment: dict[str, str]
    runners: Mapping[str, "Runner"]

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


def _compare(block: Block, printed: str) -> None:
    pattern = ".*?".join(map(re.escape, block.code.strip().split("…")))
    if not re.fullmatch(pattern, printed.strip(), re.DOTALL):
        raise Wrong(f"{block.place}: it printed\n{printed}")
