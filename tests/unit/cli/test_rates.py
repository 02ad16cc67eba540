"""Tests of the rates between two measurements."""

from jobworker.v1.job_pb2 import Usage
from jobworker_cli.render.rates import Rates, usage_rates

PREVIOUS = Usage(
    wall_usec=10_000_000,
    cpu_user_usec=100,
    cpu_system_usec=0,
    io_read_bytes=50,
    io_write_bytes=0,
    io_read_count=1,
    io_write_count=2,
)
CURRENT = Usage(
    wall_usec=12_000_000,
    cpu_user_usec=400_100,
    cpu_system_usec=100_000,
    io_read_bytes=2_098_202,
    io_write_bytes=0,
    io_read_count=3,
    io_write_count=6,
)


def test_rates_use_the_clock_of_the_server() -> None:
    assert usage_rates(PREVIOUS, CURRENT) == Rates(cpu=25.0, read=1_049_076.0, written=0.0, operations=3.0)


def test_unmeasured_value_has_no_rate() -> None:
    assert usage_rates(Usage(wall_usec=1), Usage(wall_usec=2, io_read_bytes=5)) == Rates(read=5_000_000.0)


def test_rates_need_two_measurements() -> None:
    assert (
        usage_rates(None, CURRENT)
        == usage_rates(CURRENT, CURRENT)
        == usage_rates(CURRENT, PREVIOUS)
        == Rates()
    )
