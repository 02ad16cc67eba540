"""Signals by name and by number, as users write them and as records show them."""

import functools
import re
import signal

_SIGNAL_NUMBER = re.compile(r"[0-9]{1,2}")
_REAL_TIME = re.compile(r"SIGRTMIN\+([0-9]{1,2})")


def signal_name(number: int) -> str:
    """Returns `SIGTERM` for 15, `SIGRTMIN+3` for a real-time signal, and an empty string for 0.

    A process may end by a signal that has no name: the C library keeps 32 and 33 to itself.
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
    """Returns the number of a signal given as `SIGTERM`, `TERM`, `term`, `SIGRTMIN+3` or `15`.

    Raises:
        ValueError: this host has no such signal (the C library keeps 32 and 33 to itself).
    """
    number = _number(text)
    if number not in _numbers():
        raise ValueError(f"no signal {number}")
    return number


@functools.cache
def _numbers() -> frozenset[int]:
    # Asking takes Python a tenth of a millisecond: each comes as an enum's member.
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
