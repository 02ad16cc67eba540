"""Tests of limits with units."""

from collections.abc import Callable

import pytest

from jobworker_cli.settings.quantities import parse_bytes, parse_mebibytes, parse_percent
from tests.unit.cli.conftest import JOB_ID, Cli, CreateRequest, FakeServer


@pytest.mark.parametrize(
    ("parse", "text", "amount"),
    [
        (parse_percent, "150", 150), (parse_percent, "0", 0), (parse_percent, "150%", 150),
        (parse_percent, "1.5c", 150), (parse_percent, "2c", 200), (parse_percent, "0.01c", 1),
        (parse_percent, "500m", 50), (parse_percent, "12.00%", 12), (parse_percent, "-1", -1),
        (parse_mebibytes, "512", 512), (parse_mebibytes, "0", 0), (parse_mebibytes, "1G", 1024),
        (parse_mebibytes, "1.5g", 1536), (parse_mebibytes, "2Gi", 2048), (parse_mebibytes, "64MiB", 64),
        (parse_mebibytes, "64MB", 64), (parse_mebibytes, "2048K", 2), (parse_mebibytes, "1T", 1_048_576),
        (parse_mebibytes, "1048576B", 1), (parse_mebibytes, "-1", -1),
        (parse_bytes, "1048576", 1_048_576), (parse_bytes, "10M", 10 * 2**20), (parse_bytes, "512k", 524_288),
        (parse_bytes, "1.5Ki", 1536), (parse_bytes, "7B", 7),
    ],
)  # fmt: skip
def test_amounts_are_parsed(parse: Callable[[str], int], text: str, amount: int) -> None:
    assert parse(text) == amount


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (parse_percent, "1.5", "not an amount of CPU such as 150, 150%, 1.5c or 1500m"),
        (parse_percent, "1C", "not an amount of CPU"),
        (parse_percent, "", "not an amount of CPU"),
        (parse_percent, "2 c", "not an amount of CPU"),
        (parse_percent, "٣c", "not an amount of CPU"),
        (parse_percent, "15m", "not a whole number of percent of one core; use 1 or 2"),
        (parse_mebibytes, "1.5", r"not a size such as 512 \(MiB\), 512M or 1.5G"),
        (parse_mebibytes, "1P", "not a size"),
        (parse_mebibytes, "-1G", "not a size"),
        (parse_mebibytes, "1e3", "not a size"),
        (parse_mebibytes, ".5G", "not a size"),
        (parse_mebibytes, "0.3G", "'0.3G' is not a whole number of MiB; use 307 or 308"),
        (parse_mebibytes, "512K", "not a whole number of MiB; use 0 or 1"),
        (parse_bytes, "10 M", r"not a size such as 1048576 \(bytes\), 512K or 10M"),
        (parse_bytes, "0.5B", "not a whole number of bytes"),
    ],
)
def test_invalid_amounts_are_refused(parse: Callable[[str], int], text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text)


async def test_create_accepts_units(cli: Cli, server: FakeServer) -> None:
    words = ["--max-memory=1G", "--max-io-bps", "10M", "--max-cpu=1.5c"]
    assert (await cli("create", *words, "true")).code == 0
    request: CreateRequest = server.created[-1]
    assert (request.max_memory, request.max_io_bps, request.max_cpu) == (1024, 10 * 2**20, 150)


async def test_update_accepts_units(cli: Cli, server: FakeServer) -> None:
    server.add()
    words = ["--max-memory=1G", "--max-io-bps", "10M", "--max-cpu=1.5c"]
    result = await cli("update", JOB_ID, *words)
    assert result.code == 0, result.stderr
    (request,) = server.updated
    assert (request.max_memory, request.max_io_bps, request.max_cpu) == (1024, 10 * 2**20, 150)


@pytest.mark.parametrize(
    ("option", "maximum"), [("--max-cpu", 100_000), ("--max-memory", 16_777_216), ("--max-io-bps", 2**40)]
)
async def test_amount_out_of_range_is_a_usage_error(
    cli: Cli, server: FakeServer, option: str, maximum: int
) -> None:
    for amount in (-1, maximum + 1):
        result = await cli("create", f"{option}={amount}", "true")
        assert result.code == 2
        assert f"Invalid value for '{option}': {amount} is out of range; use 0 to {maximum}" in result.stderr
    assert not server.created


async def test_help_names_the_units(cli: Cli) -> None:
    for subcommand in ("create", "run", "update"):
        text = " ".join((await cli(subcommand, "--help")).text.split())
        assert "with a unit (512M, 1.5G; powers of 1024)" in text
        assert "in cores (1.5c or 1500m)" in text
