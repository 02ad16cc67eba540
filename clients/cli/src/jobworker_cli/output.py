"""Where output goes and in what form: data on stdout, talk on stderr, colour on a terminal only."""

import contextlib
import enum
import os
import sys

import typer

__all__ = ["Format", "printable", "say", "styled"]


class Format(enum.StrEnum):
    """The forms of a result: for people, for programs (the protobuf JSON mapping), or ids alone.

    `wide` has more columns where there are columns; `jsonl` has a job a line.
    """

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    JSONL = "jsonl"
    ID = "id"

    @property
    def is_json(self) -> bool:
        """Tells whether errors are JSON, too."""
        return self in {Format.JSON, Format.JSONL}


def say(text: str) -> None:
    """Writes a line of talk to stderr."""
    with contextlib.suppress(BrokenPipeError):
        print(printable(text), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    r"""Returns the text with everything that could steer a terminal escaped, such as `\x1b`.

    Jobs name themselves with their users' words; these may neither recolour, nor move, nor hide what
    somebody else's terminal shows.
    """
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def styled(text: str, colour: str) -> str:
    """Returns the text in a colour, if stdout is a terminal that shows colours (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return text
    return typer.style(text, fg=colour)
