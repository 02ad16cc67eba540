"""Formats and streams of the command: results on stdout, messages on stderr, colour on terminals."""

import contextlib
import enum
import os
import sys
import termios
from typing import TextIO

import typer

__all__ = ["Format", "print_message", "printable", "styled"]


class Format(enum.StrEnum):
    """Formats of a result: text, the protobuf JSON mapping, or ids.

    `wide` adds columns to tables. `jsonl` prints one job per line.
    """

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    JSONL = "jsonl"
    ID = "id"

    @property
    def is_json(self) -> bool:
        """Whether errors are JSON, too."""
        return self in {Format.JSON, Format.JSONL}


def print_message(*lines: str) -> None:
    """Print lines to stderr, if it is open. In a terminal in raw mode, they begin on a new line."""
    raw = _is_raw(sys.stderr)
    text = "".join(f"{printable(line)}\r\n" if raw else f"{printable(line)}\n" for line in lines)
    with contextlib.suppress(OSError):
        print(f"\r\n{text}" if raw else text, end="", file=sys.stderr, flush=True)


def _is_raw(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal where a line feed does not return the cursor."""
    try:
        output_flags = termios.tcgetattr(stream)[1]
    except (OSError, ValueError, termios.error):  # no terminal, or closed
        return False
    return not output_flags & termios.OPOST


def printable(text: str) -> str:
    r"""Escape control characters, such as `\x1b`.

    Commands, labels and owners come from other users. Their text must not control the terminal.
    """
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def styled(text: str, colour: str) -> str:
    """Colour the text if stdout is a terminal that shows colours (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return text
    return typer.style(text, fg=colour)
