"""Hashes of requests, which tell whether a repeated request id belongs to the same request.

A request contains an environment with possible secrets. Without the key, which is not in the database, a
guess of a secret cannot be checked.
"""

import hashlib

from jobworkerd.model import JobSpec
from jobworkerd.records.encoding import HASH_BYTES, request_hash
from jobworkerd.records.state_key import StateKey

_KEYED = b"\x01"
"""The first byte of a hash with a key. A hash of an earlier version has no such byte, and no key."""

_PURPOSE = b"request hash"
"""Separates the key of the hashes from the key that encrypts environments."""


class RequestHashes:
    """Computes and compares hashes. The first use reads the key."""

    def __init__(self, state_key: StateKey) -> None:
        self._state_key = state_key
        self._key = b""

    async def of(self, spec: JobSpec) -> bytes:
        """Return the hash of a request with a request id; empty without one.

        Raises:
            OSError: the key cannot be read or created.
        """
        return await self._keyed(spec) if spec.request_id else b""

    async def match(self, spec: JobSpec, stored: bytes) -> bool:
        """Return whether a stored hash is that of a request.

        Raises:
            OSError: the key cannot be read or created.
        """
        expected = request_hash(spec) if len(stored) == HASH_BYTES else await self._keyed(spec)
        return stored == expected

    async def _keyed(self, spec: JobSpec) -> bytes:
        if not self._key:
            key = await self._state_key.get_or_create()
            self._key = hashlib.blake2b(key, person=_PURPOSE).digest()
        return _KEYED + request_hash(spec, self._key)
