"""The terminal of a job, and the changes of its size."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import msgspec

MAX_RESIZES = 100
"""Maximum number of changes that a record has."""

Cells = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
"""A number of columns or rows that the kernel accepts for a terminal."""


class Terminal(msgspec.Struct, frozen=True, gc=False):
    """The terminal with which a job starts: its size in characters, and the value of TERM."""

    columns: Cells = 80
    rows: Cells = 24
    term: str = "xterm-256color"


class TerminalResize(msgspec.Struct, frozen=True, gc=False):
    """The size of a terminal from a log offset on."""

    columns: Cells
    rows: Cells
    log_offset: int = 0


Resizes = tuple[TerminalResize, ...]
"""The changes of a terminal's size, with increasing log offsets."""


def add_resize(resizes: Resizes, resize: TerminalResize) -> Resizes:
    """Return the changes with a later one. It replaces a change at the same offset.

    Beyond `MAX_RESIZES`, the change that held for the least output is dropped.
    """
    if resizes and resizes[-1].log_offset == resize.log_offset:
        resizes = resizes[:-1]
    added = (*resizes, resize)
    return added if len(added) <= MAX_RESIZES else _without_shortest(added)


def _without_shortest(resizes: Resizes) -> Resizes:
    lengths = [after.log_offset - each.log_offset for each, after in pairwise(resizes)]
    shortest = lengths.index(min(lengths))
    return (*resizes[:shortest], *resizes[shortest + 1 :])


def resizes_from(terminal: Terminal, resizes: Resizes, offset: int) -> Sequence[TerminalResize]:
    """Return the size that holds at a log offset, and each later one."""
    sizes = (TerminalResize(terminal.columns, terminal.rows), *resizes)
    first = max(number for number, size in enumerate(sizes) if size.log_offset <= offset)
    return sizes[first:]
