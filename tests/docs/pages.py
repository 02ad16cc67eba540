"""Finds the code blocks of a page and the verdict on each.

A block is run according to the language of its fence, unless an HTML comment precedes it:

    <!-- output -->               the expected output of the preceding block; `…` matches anything
    <!-- not run: the reason -->  the block is not run, for this reason

A comment applies to the block that follows it directly.
"""

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

_COMMENT = re.compile(r"\s*<!-- (?:(output)|not run: (\S.*)) -->\s*", re.DOTALL)


class Use(enum.Enum):
    """The verdict on a block."""

    RUN = "run"
    OUTPUT = "output"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is the number of its first line of code in the page, from 1."""

    page: Path
    line: int
    language: str
    code: str
    use: Use

    @property
    def place(self) -> str:
        """Location in the form `path:line`."""
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page, including those in lists and quotes."""
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
