"""Converts between names and numbers of signals."""

import functools
import re
import signal

_SIGNAL_NUMBER = re.compile(r"[0-9]{1,2}")
_REAL_TIME = re.compile(r"SIGRTMIN\+([0-9]{1,2})")


def signal_name(number: int) -> str:
    """Return `SIGTERM` for 15, `SIGRTMIN+3` for a real-time signal, and an empty string for 0.

    A process can be terminated by a signal without a name: the C library reserves 32 and 33.
    """
    if not number:
        return ""
    if signal.SIGRTMIN < number < signal.SIGRTMAX:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def signal_number(text: str) -> int:
    """Return the number of a signal given as `SIGTERM`, `TERM`, `term`, `SIGRTMIN+3` or `15`.

    Raises:
        ValueError: this host has no such signal, or the C library reserves it (32 and 33).
    """
    number = _number(text)
    if number not in _numbers():
        raise ValueError(f"no signal {number}")
    return number


@functools.cache
def _numbers() -> frozenset[int]:
    # Cached, because valid_signals takes 0.1 ms to create enum members.
    return frozenset(map(int, signal.valid_signals()))


def _number(text: str) -> int:
    if _SIGNAL_NUMBER.fullmatch(text):
        return int(text)
    name = "SIG" + text.upper().removeprefix("SIG")
    if real_time := _REAL_TIME.fullmatch(name):
        return signal.SIGRTMIN + int(real_time[1])
    try:
        return signal.Signals[name]
    except KeyError:
        raise ValueError(f"no signal {name}") from None
