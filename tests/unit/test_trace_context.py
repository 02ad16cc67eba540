"""Parsing of W3C Trace Context: the valid headers, and the values that the server passes on."""

import pytest

from jobworkerd.trace_context import TraceContext, parse

IDS = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"
VALID = f"00-{IDS}-01"


def test_a_valid_header_is_passed_on_unchanged() -> None:
    trace = parse(VALID, "vendor=1,other=2")
    assert trace == TraceContext(VALID, "vendor=1,other=2")
    assert trace.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert trace.span_id == "b7ad6b7169203331"
    assert trace.variables == {"TRACEPARENT": VALID, "TRACESTATE": "vendor=1,other=2"}


@pytest.mark.parametrize("flags", ["00", "01", "03", "ff"])
def test_flags_are_unchanged(flags: str) -> None:
    assert parse(f"00-{IDS}-{flags}") == TraceContext(f"00-{IDS}-{flags}")


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("ff", True)])
def test_only_a_sampled_trace_can_be_found_later(flags: str, sampled: bool) -> None:  # noqa: FBT001
    trace = TraceContext(f"00-{IDS}-{flags}")
    assert trace.sampled_id == (trace.trace_id if sampled else "")


@pytest.mark.parametrize(
    "invalid",
    [
        "",
        "00",
        VALID.upper(),
        f" {VALID}",
        f"{VALID}\n",
        f"{VALID}-more",
        f"{VALID}0",
        f"ff-{IDS}-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        f"00-{IDS}-0",
        f"00-{IDS}-gg",
    ],
)
def test_an_invalid_header_is_no_trace(invalid: str) -> None:
    assert parse(invalid, "vendor=1") is None


@pytest.mark.parametrize("later", [f"01-{IDS}-01", f"cc-{IDS}-01-what the future brings"])
def test_a_later_version_is_read_as_version_00(later: str) -> None:
    assert parse(later) == TraceContext(VALID)


@pytest.mark.parametrize("state", ["x" * 513, "a=\x00", "a=\n", "a=ä"])
def test_an_invalid_state_is_dropped(state: str) -> None:
    assert parse(VALID, state) == TraceContext(VALID)


def test_a_trace_without_state_sets_one_variable() -> None:
    assert TraceContext(VALID).variables == {"TRACEPARENT": VALID}
