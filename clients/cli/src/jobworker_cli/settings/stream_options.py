"""Options of the subcommands that show the output of a job."""

from typing import Annotated

import typer

__all__ = ["DetachKeys", "Tail"]

Tail = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=2**63 - 1,
        metavar="N",
        help="Number of lines before the current end; 0 = only new output.",
    ),
]


def parse_detach_keys(value: str) -> str:
    """Parse the two characters of the sequence that detaches; empty = none."""
    if value and not (len(value) == 2 and value.isascii() and value.isprintable()):
        raise typer.BadParameter(f"{value!r} is not two printable ASCII characters; use such as ~. or ''")
    return value


DetachKeys = Annotated[
    str,
    typer.Option(
        "--detach-keys",
        parser=parse_detach_keys,
        metavar="KEYS",
        help="Two characters that detach after Enter; empty = none.",
    ),
]
