"""The key of session tokens, derived from the key of the state directory."""

import hashlib

from jobworkerd.records.state_key import StateKey

_PURPOSE = b"session tokens"


class SessionKey:
    """The owner of the derived key. A use creates the key of the state directory if it is missing."""

    def __init__(self, state_key: StateKey) -> None:
        self._state_key = state_key

    async def get(self) -> bytes:
        """Return the key.

        Raises:
            OSError: the key of the state directory cannot be read or created.
        """
        return hashlib.blake2b(
            await self._state_key.get_or_create(), digest_size=32, person=_PURPOSE
        ).digest()
