"""Deadlines of the fault test. An emulated kernel is many times slower than the host."""

from live import GUEST

_FACTOR = 6 if GUEST else 1

BACK_SECONDS = 30.0 * _FACTOR
"""The server must answer again within this time after a fault."""

AWAY_SECONDS = 60.0 * _FACTOR
"""A client repeats a call for this long."""
