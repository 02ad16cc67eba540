"""The place of a job in a distributed trace, in the format of W3C Trace Context.

https://www.w3.org/TR/trace-context/
"""

import os
import re

import msgspec

_MAX_STATE = 512
"""Characters of `tracestate` that a recipient must pass on. A longer value is dropped, not cut."""

_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?"
)
_TRACESTATE = re.compile(r"[ -~\t]*")
_VERSION = "00"
_SAMPLED = 1
"""The bit of the flags that says that the caller exports the trace."""


class TraceContext(msgspec.Struct, frozen=True, gc=False):
    """The parent of a new span: a valid `traceparent` of version 00, and its `tracestate`.

    `exported` is true if an API process exports the parent, and must export its children as well.
    """

    traceparent: str
    tracestate: str = ""
    exported: bool = False

    @property
    def trace_id(self) -> str:
        """The id of the trace in hexadecimal digits."""
        return self.traceparent[3:35]

    @property
    def sampled_id(self) -> str:
        """The id of the trace if its participants export it, or an empty string."""
        return self.trace_id if int(self.traceparent[53:55], 16) & _SAMPLED else ""

    @property
    def span_id(self) -> str:
        """The id of the parent in hexadecimal digits."""
        return self.traceparent[36:52]

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that pass the context to a process."""
        state = {"TRACESTATE": self.tracestate} if self.tracestate else {}
        return {"TRACEPARENT": self.traceparent} | state


class Step(msgspec.Struct, frozen=True, gc=False):
    """A step of the start of a job."""

    name: str
    start_ns: int
    end_ns: int


class JobTrace(msgspec.Struct, frozen=True, gc=False):
    """The trace of a job: its parent, and the span of its whole life if that is exported.

    `span_id` is the id of that span; empty if it is not exported. Only a span has `steps`.
    """

    parent: TraceContext
    span_id: str = ""
    steps: tuple[Step, ...] = ()

    @classmethod
    def below(cls, parent: TraceContext | None) -> "JobTrace | None":
        """Return the trace of a new job, which has none without a parent."""
        return cls(parent, _new_span_id() if parent.exported else "") if parent else None

    @property
    def context(self) -> TraceContext:
        """The parent of the spans of the command."""
        if not self.span_id:
            return self.parent
        traceparent = self.parent.traceparent
        return TraceContext(f"{traceparent[:36]}{self.span_id}{traceparent[52:]}", self.parent.tracestate)


def _new_span_id() -> str:
    while not any(span_id := os.urandom(8)):
        pass  # an id of zeros is invalid
    return span_id.hex()


def parse(traceparent: str, tracestate: str = "") -> TraceContext | None:
    """Return the context of these headers; None if `traceparent` is invalid.

    An invalid `tracestate` is dropped. A later version has the fields of version 00 and perhaps others.
    """
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or (found[1] == _VERSION and found[3]):
        return None
    usable = len(tracestate) <= _MAX_STATE and _TRACESTATE.fullmatch(tracestate)
    return TraceContext(f"{_VERSION}-{found[2]}", tracestate if usable else "")
