"""Replaced certificate files, one look after the other, and connections that wait for a look."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
import pytest
from certificates import Issued, authority, issue
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace
from structlog.testing import capture_logs

from jobworkerd.protocol.messages import Certificates
from jobworkerd.rpc_server.identity import credentials

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
        certificates = credentials.Certificates(Path("certs"), files, lambda *_: None, lambda *_: None)
        await certificates.credentials()
        poll = asyncio.create_task(certificates.poll(lambda: looks.put_nowait(None)))
        async with asyncio.timeout(10):
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


class ExhaustedOnce(Files):
    """A supervisor whose first response after the start does not fit into the memory."""

    _is_exhausted = True

    async def certificates(self, known: Sequence[int]) -> Certificates:
        """Return the next files, but raise an error once after the start."""
        if known and self._is_exhausted:
            self._is_exhausted = False
            raise MemoryError
        return await super().certificates(known)


async def test_the_files_are_looked_at_again_after_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await events(monkeypatch, ExhaustedOnce(FIRST, SECOND)) == ["certificates renewed"]


class Unresponsive(Files):
    """A supervisor that does not respond after the start."""

    async def certificates(self, known: Sequence[int]) -> Certificates:
        """Return the files at the start, and wait forever afterwards."""
        if known:
            await asyncio.Event().wait()
        return await super().certificates(known)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """The functions that gRPC calls for each connection to the servers of a test."""
    functions: list[Callable[[], object]] = []
    make = grpc.dynamic_ssl_server_credentials

    def recording(
        initial: grpc.ServerCertificateConfiguration,
        connect: Callable[[], grpc.ServerCertificateConfiguration],
        **options: bool,
    ) -> grpc.ServerCredentials:
        functions.append(connect)
        return make(initial, connect, **options)

    monkeypatch.setattr(grpc, "dynamic_ssl_server_credentials", recording)
    return functions


async def _start(files: Files) -> credentials.Certificates:
    certificates = credentials.Certificates(Path("certs"), files, lambda *_: None, lambda *_: None)
    await certificates.credentials()
    return certificates


def _connect_while_the_loop_is_busy(connect: Callable[[], object]) -> bool:
    """Return whether a connection gets certificates while the loop runs nothing else."""
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(5)
    return not thread.is_alive()


async def test_a_connection_gets_files_that_were_replaced_before(
    connections: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_ANSWER_SECONDS", 600)
    await _start(Files(FIRST, SECOND))
    (connect,) = connections
    assert await asyncio.to_thread(connect) is not None
    assert await asyncio.to_thread(connect) is None  # unchanged


async def test_a_connection_gets_the_current_files_while_memory_is_missing(
    connections: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_ANSWER_SECONDS", 600)
    await _start(ExhaustedOnce(FIRST, SECOND))
    (connect,) = connections
    assert await asyncio.to_thread(connect) is None
    await asyncio.sleep(credentials._FRESH_SECONDS)
    assert await asyncio.to_thread(connect) is not None


async def test_a_flood_of_connections_does_not_wait_for_a_busy_loop(
    connections: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await _start(Files(FIRST))
    (connect,) = connections
    await asyncio.to_thread(connect)
    monkeypatch.setattr(credentials, "_FRESH_SECONDS", 600)
    monkeypatch.setattr(credentials, "_ANSWER_SECONDS", 600)
    assert _connect_while_the_loop_is_busy(connect)


async def test_one_connection_waits_for_an_unresponsive_supervisor(
    connections: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await _start(Unresponsive(FIRST))
    (connect,) = connections
    monkeypatch.setattr(credentials, "_ANSWER_SECONDS", 0.01)
    await asyncio.to_thread(connect)
    monkeypatch.setattr(credentials, "_FRESH_SECONDS", 600)
    monkeypatch.setattr(credentials, "_ANSWER_SECONDS", 600)
    assert _connect_while_the_loop_is_busy(connect)
