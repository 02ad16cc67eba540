"""A place on the terminal that is written anew each time."""

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator

__all__ = ["is_live", "screen"]

# Control sequences of xterm, which terminals have in common (https://invisible-island.net/xterm/ctlseqs).
# Lines that are too long are clipped, not wrapped (DECAWM): a wrapped one would scroll the others away.
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME, ERASE_LINE, ERASE_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def is_live() -> bool:
    """Tells whether stdout is a terminal, which can be written anew."""
    return sys.stdout.isatty()


@contextlib.contextmanager
def screen() -> Iterator[Callable[[list[str]], None]]:
    """Gives a way to draw lines over the last ones, on a screen beside the one with the user's work."""

    def draw(lines: list[str]) -> None:
        size = shutil.get_terminal_size()
        shown = [f"{line}{ERASE_LINE}" for line in lines[: size.lines]]
        print(HOME + "\n".join(shown), end=ERASE_BELOW, flush=True)

    print(ENTER, end="", flush=True)
    try:
        yield draw
    finally:
        print(LEAVE, end="", flush=True)
