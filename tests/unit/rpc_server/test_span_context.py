"""The conversion of a trace for OpenTelemetry."""

import pytest

from jobworkerd.rpc_server.span_context import span_context
from jobworkerd.trace_context import TraceContext

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("state", ["=", "UPPER=1", "a=1,a=2", "no equals sign"])
def test_a_client_cannot_fill_the_log_with_invalid_states(
    caplog: pytest.LogCaptureFixture, state: str
) -> None:
    assert not span_context(TraceContext(PARENT, state)).trace_state
    assert caplog.messages == []
