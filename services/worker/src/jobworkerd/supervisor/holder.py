"""The interface to the process that holds what the next supervisor needs to continue the jobs."""

import os
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

_INPUT = "/input"


def input_key(job_id: str) -> str:
    """Return the key of the entry for a job's stdin."""
    return job_id + _INPUT


class Holder(Protocol):
    """The holder of one entry per live job, and of another one per open stdin.

    It survives the supervisor, whose last call counts.
    """

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
    stdin: "HeldJob | None" = None
    """The entry of the job's stdin, if it is open."""

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        if self.stdin:
            self.stdin.close()


def release_job(holder: Holder, job_id: str) -> None:
    """Remove the entries of a job and of its stdin."""
    holder.release(input_key(job_id))
    holder.release(job_id)


def join_entries(holder: Holder, entries: Mapping[str, HeldJob]) -> dict[str, HeldJob]:
    """Return the entries of jobs, each with the entry of its stdin. Release a stdin without a job."""
    jobs = {key: entry for key, entry in entries.items() if not key.endswith(_INPUT)}
    for key in entries.keys() - jobs.keys():
        job_id = key.removesuffix(_INPUT)
        if job_id in jobs:
            jobs[job_id] = replace(jobs[job_id], stdin=entries[key])
        else:
            entries[key].close()
            holder.release(key)
    return jobs
