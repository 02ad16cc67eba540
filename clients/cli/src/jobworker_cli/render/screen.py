"""Full-screen output that is redrawn in place."""

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator

__all__ = ["alternate_screen", "is_terminal"]

# Control sequences of xterm that all common terminals support (https://invisible-island.net/xterm/ctlseqs).
# Without line wrapping (DECAWM) a long line is clipped; a wrapped line would scroll the others away.
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME, ERASE_LINE, ERASE_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def is_terminal() -> bool:
    """Tell whether stdout is a terminal."""
    return sys.stdout.isatty()


@contextlib.contextmanager
def alternate_screen() -> Iterator[Callable[[list[str]], None]]:
    """Switch to the alternate screen; yield a function that draws lines over the previous ones."""

    def draw(lines: list[str]) -> None:
        size = shutil.get_terminal_size()
        visible = [f"{line}{ERASE_LINE}" for line in lines[: size.lines]]
        print(HOME + "\n".join(visible), end=ERASE_BELOW, flush=True)

    print(ENTER, end="", flush=True)
    try:
        yield draw
    finally:
        print(LEAVE, end="", flush=True)
