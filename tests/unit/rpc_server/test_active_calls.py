"""Calls that other code ends."""

import asyncio
from unittest.mock import AsyncMock

import pytest
from certificates import authority, issue
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from jobworkerd.certs import revocation_list
from jobworkerd.certs.authority import load_pair
from jobworkerd.errors import CertificateRevoked, Unauthenticated
from jobworkerd.rpc_server.active_calls import ActiveCalls
from jobworkerd.rpc_server.identity.principal import Identities
from jobworkerd.rpc_server.identity.session_token import SessionTokens
from jobworkerd.rpc_server.rpc import Credential

AUTHORITY = authority(ec.generate_private_key(ec.SECP256R1()))
PRESENTED = Credential(issue(AUTHORITY).certificate, b"")


@pytest.fixture
def identities() -> Identities:
    """Identities that trust the authority."""
    identities = Identities(SessionTokens(AsyncMock()))
    identities.trust(AUTHORITY.certificate)
    return identities


async def _wait(active_calls: ActiveCalls, presented: Credential | None) -> None:
    with active_calls.enter(presented):
        await asyncio.Event().wait()


async def _start(active_calls: ActiveCalls, presented: Credential | None) -> "asyncio.Task[None]":
    task = asyncio.create_task(_wait(active_calls, presented))
    await asyncio.sleep(0)
    return task


def _replace(identities: Identities) -> None:
    identities.trust(authority(ec.generate_private_key(ec.SECP256R1())).certificate)


async def test_a_stream_continues_while_its_client_is_authenticated(identities: Identities) -> None:
    active_calls = ActiveCalls(identities)
    stream = await _start(active_calls, PRESENTED)
    active_calls.check()
    await asyncio.sleep(0)
    assert not stream.done()
    stream.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream


async def test_a_stream_ends_when_the_authority_is_replaced(identities: Identities) -> None:
    active_calls = ActiveCalls(identities)
    stream, unary = await _start(active_calls, PRESENTED), await _start(active_calls, None)
    _replace(identities)
    active_calls.check()
    with pytest.raises(Unauthenticated, match="current authority"):
        await stream
    assert not unary.done()
    unary.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unary


async def test_a_stream_ends_when_its_certificate_is_revoked(identities: Identities) -> None:
    active_calls = ActiveCalls(identities)
    other = Credential(issue(AUTHORITY).certificate, b"")
    revoked, unaffected = await _start(active_calls, PRESENTED), await _start(active_calls, other)
    serial = x509.load_pem_x509_certificate(PRESENTED.certificate).serial_number
    issuer = load_pair(AUTHORITY.certificate, AUTHORITY.key)
    identities.trust(AUTHORITY.certificate, revocation_list.add(issuer, b"", serial))
    active_calls.check()
    with pytest.raises(CertificateRevoked, match=f"serial number {serial:x} is revoked"):
        await revoked
    assert not unaffected.done()
    unaffected.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unaffected


async def test_each_new_call_starts_another_quiet_period(identities: Identities) -> None:
    active_calls = ActiveCalls(identities)
    quiet = asyncio.create_task(active_calls.quiet(0))
    for _ in range(5):
        await asyncio.sleep(0)
        active_calls.enter(None)
        assert not quiet.done()
    async with asyncio.timeout(30):
        await quiet


async def test_a_concurrent_cancellation_of_the_client_takes_precedence(identities: Identities) -> None:
    active_calls = ActiveCalls(identities)
    stream = await _start(active_calls, PRESENTED)
    _replace(identities)
    active_calls.check()
    stream.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream
