"""Encrypts the environments of queued jobs, which can contain secrets.

A copy of the database alone, such as a backup, does not reveal them: the key is in a separate file.
"""

import asyncio
import importlib
import os
from pathlib import Path

import msgspec

KEY_FILE = "key"
_KEY_BYTES = 32
_NONCE_BYTES = 12


class CannotUnseal(Exception):
    """Raised when an environment cannot be decrypted. The message says why."""


class Sealer:
    """Encrypts with AES-GCM. The first use creates the key and loads the library, which takes 10 MB."""

    def __init__(self, state_dir: Path) -> None:
        self._file = state_dir / KEY_FILE
        self._creating = asyncio.Lock()

    async def seal(self, job_id: str, env: dict[str, str]) -> bytes:
        """Return the environment of a job in encrypted form.

        Raises:
            OSError: the key cannot be read or created.
        """
        async with self._creating:
            return await asyncio.to_thread(_seal, self._file, job_id, env)

    async def unseal(self, job_id: str, sealed: bytes) -> dict[str, str]:
        """Return the environment of a job.

        Raises:
            CannotUnseal: the key is missing or is another one, or the data is damaged.
            OSError: the key cannot be read.
        """
        return await asyncio.to_thread(_unseal, self._file, job_id, sealed)


def _seal(file: Path, job_id: str, env: dict[str, str]) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    aead = importlib.import_module("cryptography.hazmat.primitives.ciphers.aead")
    key = _key(file, create=True)
    return nonce + bytes(aead.AESGCM(key).encrypt(nonce, msgspec.msgpack.encode(env), job_id.encode()))


def _unseal(file: Path, job_id: str, sealed: bytes) -> dict[str, str]:
    exceptions = importlib.import_module("cryptography.exceptions")
    aead = importlib.import_module("cryptography.hazmat.primitives.ciphers.aead")
    try:
        key = _key(file, create=False)
    except FileNotFoundError:
        raise CannotUnseal(f"{file} is missing") from None
    try:
        data = aead.AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], job_id.encode())
    except (exceptions.InvalidTag, ValueError):
        raise CannotUnseal(f"{file} is not the key that encrypted it") from None
    return msgspec.msgpack.decode(data, type=dict[str, str])


def _key(file: Path, *, create: bool) -> bytes:
    """Return the key. A new key is complete before it has its name, so no process sees a part of it."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        if not create:
            raise
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
