"""Measures the steps of the start of a job, which become spans."""

import time

from msgspec.structs import replace

from jobworkerd.trace_context import JobTrace, Step


class StepTimes:
    """The times of consecutive steps. The first one begins now."""

    def __init__(self) -> None:
        self._begin = time.time_ns()
        self._steps: list[Step] = []

    def done(self, name: str) -> None:
        """End a step; the next one begins. A step that another supervisor began begins at the adoption."""
        end = max(time.time_ns(), self._begin)
        self._steps.append(Step(name, self._begin, end))
        self._begin = end

    def added_to(self, trace: JobTrace | None) -> JobTrace | None:
        """Return the trace with the steps, if the job has a span."""
        return replace(trace, steps=tuple(self._steps)) if trace and trace.span_id else trace
