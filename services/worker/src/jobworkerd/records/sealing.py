"""Encrypts the environments of queued jobs, which can contain secrets.

A copy of the database alone, such as a backup, does not reveal them: the key is in a separate file.
"""

import asyncio
import importlib
import os

import msgspec

from jobworkerd.records.state_key import StateKey

_NONCE_BYTES = 12


class CannotUnseal(Exception):
    """Raised when an environment cannot be decrypted. The message says why."""


class Sealer:
    """Encrypts with AES-GCM. The first use loads the library, which takes 10 MB."""

    def __init__(self, state_key: StateKey) -> None:
        self._key = state_key

    async def seal(self, job_id: str, env: dict[str, str]) -> bytes:
        """Return the environment of a job in encrypted form.

        Raises:
            OSError: the key cannot be read or created.
        """
        key = await self._key.get_or_create()
        return await asyncio.to_thread(_seal, key, job_id, env)

    async def unseal(self, job_id: str, sealed: bytes) -> dict[str, str]:
        """Return the environment of a job.

        Raises:
            CannotUnseal: the key is missing or is another one, or the data is damaged.
            OSError: the key cannot be read.
        """
        try:
            key = await self._key.get()
        except FileNotFoundError:
            raise CannotUnseal(f"{self._key.file} is missing") from None
        env = await asyncio.to_thread(_unseal, key, job_id, sealed)
        if env is None:
            raise CannotUnseal(f"{self._key.file} is not the key that encrypted it")
        return env


def _seal(key: bytes, job_id: str, env: dict[str, str]) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    aead = importlib.import_module("cryptography.hazmat.primitives.ciphers.aead")
    return nonce + bytes(aead.AESGCM(key).encrypt(nonce, msgspec.msgpack.encode(env), job_id.encode()))


def _unseal(key: bytes, job_id: str, sealed: bytes) -> dict[str, str] | None:
    """Return an environment; None if another key encrypted it or the data is damaged."""
    exceptions = importlib.import_module("cryptography.exceptions")
    aead = importlib.import_module("cryptography.hazmat.primitives.ciphers.aead")
    try:
        data = aead.AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], job_id.encode())
    except (exceptions.InvalidTag, ValueError):
        return None
    return msgspec.msgpack.decode(data, type=dict[str, str])
