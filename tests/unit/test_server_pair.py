"""Pairs of certificate and key that the server refuses, and one that it accepts."""

import pytest
from certificates import authority, issue
from cryptography.hazmat.primitives.asymmetric import ec
from unusable_pairs import UNUSABLE_PAIRS, Make

from jobworkerd.server_pair import ServerPair

CA = authority(ec.generate_private_key(ec.SECP256R1()))


@pytest.mark.parametrize(("make", "reason"), UNUSABLE_PAIRS.values(), ids=UNUSABLE_PAIRS)
def test_an_unusable_pair(make: Make, reason: str) -> None:
    issued = make(CA)
    pair = ServerPair(issued.certificate, issued.key)
    assert (pair.problem() or pair.validity_problem()).startswith(reason)


def test_a_usable_pair() -> None:
    issued = issue(CA)
    pair = ServerPair(issued.certificate, issued.key)
    assert pair.problem() == pair.validity_problem() == ""
