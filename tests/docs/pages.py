"""The code blocks of a page, and what is to be done with each.

Each block has a verdict. It is run as the language of its fence says; or the HTML comment before it is

    <!-- output -->               it is what the block before it prints; `…` stands for anything
    <!-- not run: the reason -->  it is neither, and says why

A comment belongs to the block that follows it with nothing in between.
"""

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

_COMMENT = re.compile(r"<!-- (?:(output)|not run: (\S.*)) -->\s*", re.DOTALL)


class Use(enum.Enum):
    """What a block is."""

    RUN = "run"
    OUTPUT = "output"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its first line of code in the page, counted from 1."""

    page: Path
    line: int
    language: str
    code: str
    use: Use

    @property
    def place(self) -> str:
        """Where it is, as compilers say it."""
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Yields the blocks of a page, those in lists and quotes, too."""
    before: Token | None = None
    for token in MarkdownIt().parse(page.read_text()):
        if token.type in {"fence", "code_block"}:
            assert token.map is not None
            first = token.map[0] + (2 if token.type == "fence" else 1)
            language = token.info.split()[0] if token.info.strip() else ""
            yield Block(page, first, language, token.content, _use(before))
        before = token


def _use(before: Token | None) -> Use:
    if before is None or before.type != "html_block":
        return Use.RUN
    if not (comment := _COMMENT.fullmatch(before.content)):
        return Use.RUN
    return Use.OUTPUT if comment[1] else Use.NOT_RUN
