"""Job ids: UUIDs of version 7 (RFC 9562, section 5.7) in lower case. They sort by creation time."""

import os
import re
import time
import uuid

LENGTH = 36
"""Characters of a job id."""

BINARY_LENGTH = 16
"""Bytes of a job id in binary form."""

_RAND_A_BITS = 12
_FORMAT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_LOWEST, _HIGHEST = "00000000-0000-7000-8000-000000000000", "ffffffff-ffff-7fff-bfff-ffffffffffff"
_PREFIX = re.compile(rf"[0-9a-f-]{{0,{LENGTH}}}")


class JobIds:
    """Creates job ids in ascending order, also within a millisecond and after a backward step of the clock.

    An id contains 48 bits of milliseconds, 12 bits of the fraction in `rand_a` (RFC 9562, section 6.2,
    method 3) and 62 random bits.
    """

    def __init__(self, last_key: int = 0) -> None:
        """Create ids after the one with `last_key` (see `key_of`)."""
        self._last = last_key
        self._reserved: frozenset[int] = frozenset()

    def reserve(self, job_id: str) -> None:
        """Skip the time of an id that another program has created, and that can be in the future."""
        if (key := key_of(job_id)) > self._last:
            self._reserved |= {key}

    def new(self, time_ns: int | None = None) -> str:
        """Return the next id, which is created at `time_ns` (default: now)."""
        self._last = max(key_at(time.time_ns() if time_ns is None else time_ns), self._last + 1)
        if self._reserved:
            while self._last in self._reserved:
                self._last += 1
            self._reserved = frozenset(key for key in self._reserved if key > self._last)
        milliseconds, rand_a = divmod(self._last, 1 << _RAND_A_BITS)
        rand_b = int.from_bytes(os.urandom(8), "big") >> 2
        return str(uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b))


def is_job_id(text: str) -> bool:
    """Return whether a text has the format of a job id."""
    return _FORMAT.fullmatch(text) is not None


def is_prefix(text: str) -> bool:
    """Return whether a text has only characters of job ids, and not too many."""
    return _PREFIX.fullmatch(text) is not None


def to_bytes(job_id: str) -> bytes:
    """Return a job id in binary form."""
    return uuid.UUID(job_id).bytes


def from_bytes(raw: bytes) -> str:
    """Return a job id from its binary form.

    Raises:
        ValueError: there are not exactly 16 bytes.
    """
    return str(uuid.UUID(bytes=raw))


def key_of(job_id: str) -> int:
    """Return the time in a job id. Each id of a server has another one, in the order of the ids."""
    return int(job_id[:8] + job_id[9:13] + job_id[15:18], 16)


def key_at(time_ns: int) -> int:
    """Return the key of an id that is created at a time."""
    return (time_ns << _RAND_A_BITS) // 1_000_000


def time_of(job_id: str) -> int:
    """Return the first time at which a job id can be created, in nanoseconds since the epoch."""
    return -(-key_of(job_id) * 1_000_000 >> _RAND_A_BITS)


def key_range(prefix: str) -> tuple[int, int]:
    """Return the first key of the ids with a prefix, and the first key after them.

    Some ids in the range can lack the prefix if it is longer than 13 characters.
    """
    lowest, highest = prefix + _LOWEST[len(prefix) :], prefix + _HIGHEST[len(prefix) :]
    if not _UUID.fullmatch(lowest):
        return 0, 0
    return key_of(lowest), key_of(highest) + 1
