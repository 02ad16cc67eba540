"""Calls that are ended from outside."""

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from jobworkerd.api.identity.principal import Credential, Identities
from jobworkerd.api.in_flight import CallsInFlight
from jobworkerd.errors import Unauthenticated
from tests.unit.api.certificates import authority, issue

AUTHORITY = authority(ec.generate_private_key(ec.SECP256R1()))
PRESENTED = Credential(issue(AUTHORITY).certificate, b"")


@pytest.fixture
def identities() -> Identities:
    """Trusts the authority."""
    identities = Identities()
    identities.trust(AUTHORITY.certificate)
    return identities


async def _wait(in_flight: CallsInFlight, presented: Credential | None) -> None:
    with in_flight.enter(presented):
        await asyncio.Event().wait()


async def _begun(in_flight: CallsInFlight, presented: Credential | None) -> "asyncio.Task[None]":
    task = asyncio.create_task(_wait(in_flight, presented))
    await asyncio.sleep(0)
    return task


def _replace(identities: Identities) -> None:
    identities.trust(authority(ec.generate_private_key(ec.SECP256R1())).certificate)


async def test_a_stream_goes_on_while_its_client_is_authenticated(identities: Identities) -> None:
    in_flight = CallsInFlight(identities)
    stream = await _begun(in_flight, PRESENTED)
    in_flight.check()
    await asyncio.sleep(0)
    assert not stream.done()
    stream.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream


async def test_a_stream_ends_with_its_clients_authority(identities: Identities) -> None:
    in_flight = CallsInFlight(identities)
    stream, unary = await _begun(in_flight, PRESENTED), await _begun(in_flight, None)
    _replace(identities)
    in_flight.check()
    with pytest.raises(Unauthenticated, match="current authority"):
        await stream
    assert not unary.done()
    unary.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unary


async def test_a_client_that_cancels_at_the_same_time_has_cancelled(identities: Identities) -> None:
    in_flight = CallsInFlight(identities)
    stream = await _begun(in_flight, PRESENTED)
    _replace(identities)
    in_flight.check()
    stream.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream
