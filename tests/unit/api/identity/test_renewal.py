"""Replaced certificate files, one look after the other."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from certificates import Issued, authority, issue
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace
from structlog.testing import capture_logs

from jobworkerd.api.identity import credentials
from jobworkerd.protocol.messages import Certificates

CA = authority(ec.generate_private_key(ec.SECP256R1()))
FIRST, SECOND = issue(CA), issue(CA)
HALF = Issued(FIRST.certificate, SECOND.key)
LOOKS = 4


class Files:
    """A supervisor that returns other files each time, and the last ones again and again."""

    def __init__(self, *looks: Issued) -> None:
        self._looks = [
            Certificates((number,), CA.certificate, each.certificate, each.key)
            for number, each in enumerate(looks)
        ]

    async def certificates(self, known: Sequence[int]) -> Certificates:
        """Return the next files, without their contents if they are known."""
        found = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        return Certificates(found.version) if found.version == known else replace(found)


async def events(monkeypatch: pytest.MonkeyPatch, files: Files) -> list[str]:
    """Return the events that are logged in the first looks."""
    monkeypatch.setattr(credentials, "_POLL_SECONDS", 0.001)
    monkeypatch.setattr(credentials, "_FRESH_SECONDS", 0)
    looks: asyncio.Queue[None] = asyncio.Queue()
    with capture_logs() as logged:
        certificates = credentials.Certificates(Path("certs"), files, lambda *_: None, lambda _: None)  # type: ignore[arg-type]  # the part that is used
        await certificates.credentials()
        poll = asyncio.create_task(certificates.poll(lambda: looks.put_nowait(None)))
        for _ in range(LOOKS):
            await looks.get()
        poll.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await poll
    return [str(each["event"]) for each in logged if str(each["event"]).startswith("certificates ")]


async def test_a_pair_that_is_half_replaced_causes_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await events(monkeypatch, Files(FIRST, HALF, SECOND)) == ["certificates renewed"]


async def test_a_pair_that_stays_unusable_causes_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await events(monkeypatch, Files(FIRST, HALF)) == ["certificates not renewed"]
