"""Expecting a client to report an error."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.interop.driver import Refused


@dataclass
class Expected:
    """The error, once the context is left."""

    error: Refused | None = None

    @property
    def found(self) -> Refused:
        """The error."""
        assert self.error
        return self.error


@contextlib.contextmanager
def refused(code: str, reason: str | None = None) -> Iterator[Expected]:
    """Expects what is inside to be refused with a code and the server's reason.

    None: the error is not the server's, and a client may give a reason of its own.
    """
    expected = Expected()
    with pytest.raises(Refused) as caught:
        yield expected
    expected.error = caught.value
    assert caught.value.code == code, caught.value.message
    assert reason in {None, caught.value.reason}, caught.value.message
