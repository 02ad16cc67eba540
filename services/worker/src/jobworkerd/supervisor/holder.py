"""The interface to the process that holds what the next supervisor needs to continue the jobs."""

import os
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Holder(Protocol):
    """The holder of one entry per live job. It survives the supervisor, whose last call counts."""

    def hold(
        self, key: str, state: bytes, descriptors: Sequence[int] | None, pids: Sequence[int]
    ) -> Awaitable[object]:
        """Add the entry of a job, or replace its state and its PIDs, and return when the holder has it.

        An entry has duplicates of `descriptors`. None keeps those of the earlier entry. Children of the
        holder whose PID is in no entry do not survive the supervisor.

        Raises:
            OSError: the host is exhausted. The earlier entry remains.
        """

    def release(self, key: str) -> None:
        """Remove an entry and close its descriptors. Do nothing without the entry."""


@dataclass(frozen=True)
class HeldJob:
    """The entry of a job. `statuses` maps the PIDs of reaped processes to wait statuses.

    The receiver owns the descriptors.
    """

    state: bytes
    descriptors: Sequence[int]
    statuses: Mapping[int, int] = field(default_factory=dict)

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in self.descriptors:
            os.close(descriptor)
