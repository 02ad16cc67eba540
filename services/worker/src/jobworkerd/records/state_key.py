"""The key of a state directory, in a separate file.

A copy of the database alone, such as a backup, does not reveal what the key protects.
"""

import asyncio
import os
from pathlib import Path

KEY_FILE = "key"
_KEY_BYTES = 32


class StateKey:
    """The owner of the key file. The first use creates it. A thread reads it."""

    def __init__(self, state_dir: Path) -> None:
        self.file = state_dir / KEY_FILE
        self._creating = asyncio.Lock()

    async def get(self) -> bytes:
        """Return the key of the file.

        Raises:
            FileNotFoundError: the key is missing.
            OSError: the key cannot be read.
        """
        return await asyncio.to_thread(self.file.read_bytes)

    async def get_or_create(self) -> bytes:
        """Return the key, and create it if the file does not exist.

        Raises:
            OSError: the key cannot be read or created.
        """
        async with self._creating:
            return await asyncio.to_thread(_get_or_create, self.file)


def _get_or_create(file: Path) -> bytes:
    """Return the key. A new key is complete before it has its name, so no process sees a part of it."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        pass
    draft = file.with_name(f"{file.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, os.urandom(_KEY_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.rename(file)
    return file.read_bytes()
