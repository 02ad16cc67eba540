"""Options for the limits of a job: one field per limit of the API, with the same name."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Annotated

import typer
from typer.models import OptionInfo

from jobworker_cli.settings.quantities import parse_bytes, parse_mebibytes, parse_percent

__all__ = ["LimitOptions", "amount_option", "given_limits"]


def amount_option(parse: Callable[[str], int], maximum: int, metavar: str, text: str) -> OptionInfo:
    """Return an option for an amount with a unit, from 0 to `maximum`."""

    def parse_option(value: str | int) -> int:
        try:
            amount = parse(str(value))
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        if not 0 <= amount <= maximum:
            raise typer.BadParameter(f"{value} is out of range; use 0 to {maximum}")
        return amount

    # typer shows the range of an option with min and max, but not with a parser.
    text = f"{text}  [0<=x<={maximum}]"
    option: OptionInfo = typer.Option(parser=parse_option, metavar=metavar, show_default=False, help=text)
    return option


def number_option(maximum: int, text: str) -> OptionInfo:
    """Return an option for a number from 0 to `maximum`."""
    option: OptionInfo = typer.Option(min=0, max=maximum, show_default=False, help=text)
    return option


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """The limits of `create`, `run` and `update`; None = not given.

    Each option is declared once, here. The requests contain all fields by name.
    """

    max_cpu: Annotated[
        int | None,
        amount_option(
            parse_percent,
            100_000,
            "CPU",
            "CPU limit in percent of one core (150 or 150%) or in cores (1.5c or 1500m). "
            "0 = the server's default.",
        ),
    ] = None
    max_memory: Annotated[
        int | None,
        amount_option(
            parse_mebibytes,
            16_777_216,
            "SIZE",
            "Memory limit in MiB (512), or with a unit (512M, 1.5G; powers of 1024). "
            "0 = the server's default.",
        ),
    ] = None
    max_io_bps: Annotated[
        int | None,
        amount_option(
            parse_bytes,
            2**40,
            "SIZE",
            "I/O limit in bytes per second (1048576), or with a unit (10M; powers of 1024), for reads "
            "and for writes of block devices separately. 0 = the server's default.",
        ),
    ] = None
    max_io_iops: Annotated[
        int | None,
        number_option(
            2**31,
            "I/O limit in operations per second, for reads and for writes separately. "
            "0 = the server's default.",
        ),
    ] = None
    max_pids: Annotated[
        int | None,
        number_option(4_194_304, "Maximum number of processes and threads. 0 = the server's default."),
    ] = None
    cpu_weight: Annotated[
        int | None,
        number_option(10_000, "Share of the CPU under contention, relative to 100 for other jobs. 0 = 100."),
    ] = None
    cpu_set: Annotated[
        str | None,
        typer.Option(
            metavar="CORES", show_default=False, help="Cores that the job may use, such as 0-1,3. '' = all."
        ),
    ] = None


def given_limits(options: LimitOptions) -> dict[str, int | str]:
    """Return the given limits by the names of the request fields."""
    values = asdict(options)
    names = (field.name for field in fields(LimitOptions))
    return {name: values[name] for name in names if values[name] is not None}
