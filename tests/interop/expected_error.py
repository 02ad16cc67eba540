"""Assertions about errors that a client reports."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.interop.driver import CallError


@dataclass
class ExpectedError:
    """The error, available after the `with` block."""

    reported: CallError | None = None

    @property
    def error(self) -> CallError:
        """The reported error."""
        assert self.reported
        return self.reported


@contextlib.contextmanager
def expect_error(code: str, reason: str | None = None) -> Iterator[ExpectedError]:
    """Expect the block to fail with a code and the server's reason.

    None: the error is not from the server, so the reason depends on the client.
    """
    expected = ExpectedError()
    with pytest.raises(CallError) as caught:
        yield expected
    expected.reported = caught.value
    assert caught.value.code == code, caught.value.message
    assert reason in {None, caught.value.reason}, caught.value.message
