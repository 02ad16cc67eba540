"""The trace of a job, as gateways and agents pass it to a node, in the format of W3C Trace Context.

It is in annotations of the job's Secret, and not in the request, because a retry can have another trace.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from jobworker_cluster import names

_VALUE = re.compile(r"[ -~]{1,512}")
"""A header of this format has at most 512 characters that a recipient must pass on."""


@dataclass(frozen=True)
class TraceHeaders:
    """The headers `traceparent` and `tracestate`. Both are empty without a trace."""

    traceparent: str = ""
    tracestate: str = ""

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations of a Secret."""
        found = {names.TRACEPARENT: self.traceparent, names.TRACESTATE: self.tracestate}
        return {name: value for name, value in found.items() if value}

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of a call to a node, without a value that gRPC would refuse together with the call."""
        if not _VALUE.fullmatch(self.traceparent):
            return ()
        # A tab separates entries as a space does, but metadata cannot have it.
        state = self.tracestate.replace("\t", " ")
        states = (("tracestate", state),) if _VALUE.fullmatch(state) else ()
        return (("traceparent", self.traceparent), *states)


def from_annotations(annotations: Mapping[str, str]) -> TraceHeaders:
    """Return the headers in the annotations of a Secret. Their values can be invalid."""
    return TraceHeaders(annotations.get(names.TRACEPARENT, ""), annotations.get(names.TRACESTATE, ""))
