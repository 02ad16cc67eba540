"""A place on the terminal that is written anew each time."""

import contextlib
import sys
from collections.abc import Callable, Iterator

__all__ = ["is_live", "screen"]


def is_live() -> bool:
    """Tells whether stdout is a terminal, which can be written anew."""
    return sys.stdout.isatty()


@contextlib.contextmanager
def screen() -> Iterator[Callable[[str], None]]:
    """Takes the whole terminal for as long as the context lasts, and gives a function that fills it."""
    from rich.live import Live
    from rich.text import Text

    with Live(screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        yield lambda text: live.update(Text.from_ansi(text, no_wrap=True, overflow="crop"), refresh=True)
