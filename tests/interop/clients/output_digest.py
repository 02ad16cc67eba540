"""Describes the output of a job from the JSON of its messages."""

import base64
import hashlib
from typing import Any


class OutputDigest:
    """The hash, size and offsets of the received output."""

    def __init__(self, limit: int | None) -> None:
        self.bytes = 0
        self._limit = limit
        self._hash = hashlib.sha256()
        self._begin: int | None = None
        self._position = 0
        self._truncated: list[list[int]] = []
        self._job: Any = None

    def add(self, message: dict[str, Any]) -> bool:
        """Add a message of the output; return True if the limit is reached."""
        payload = base64.b64decode(message.get("payload", ""))
        self._position = int(message.get("nextOffset", 0))
        if missing := message.get("truncated"):
            self._truncated.append([int(missing.get("fromOffset", 0)), int(missing["toOffset"])])
        if payload and self._begin is None:
            self._begin = int(message.get("offset", 0))
        self._hash.update(payload)
        self.bytes += len(payload)
        self._job = message.get("result")
        return self._limit is not None and self.bytes >= self._limit

    def result(self) -> dict[str, Any]:
        """Return the result of the operation."""
        return {
            "sha256": self._hash.hexdigest(),
            "bytes": self.bytes,
            "begin": self._position if self._begin is None else self._begin,
            "end": self._position,
            "truncated": self._truncated,
            "job": self._job,
        }
