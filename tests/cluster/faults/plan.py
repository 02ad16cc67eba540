"""The jobs of the fault schedule: what each writes and how it ends follow from the seed alone."""

import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_EXIT_CODES = (0, 0, 0, 0, 1, 7)

_CPU = (40, 80, 160)
"""Percent of one core that a job reserves. The hosts are full for a part of the time, so that jobs wait."""

_LONG = 0.08
_LONG_LINES = 80
_LONG_PAUSE = 1.5
"""A long job runs for 120 s. Unless its host stops it, it is alive for long after the cluster gave it up."""


@dataclass(frozen=True)
class JobPlan:
    """One job. It writes numbered lines with pauses, and each execution appends its times to a file.

    `cpu` is in percent of one core. `retries`: the job has `retry_on_lost`. `stopped`: a client stops it
    while it runs.
    """

    request_id: str
    lines: int
    pause: float
    exit_code: int
    cpu: int
    priority: int
    retries: bool
    stopped: bool

    @classmethod
    def make(cls, seed: int, number: int) -> "JobPlan":
        """Return the job with this number."""
        rng = random.Random(f"{seed}/{number}")
        is_long = rng.random() < _LONG
        return cls(
            request_id=f"faults-{seed}-{number:04}",
            lines=_LONG_LINES if is_long else rng.randint(5, 60),
            pause=_LONG_PAUSE if is_long else round(rng.uniform(0.1, 0.4), 2),
            exit_code=rng.choice(_EXIT_CODES),
            priority=rng.choice((-5, 0, 0, 0, 50)),
            retries=rng.random() < (0.5 if is_long else 0.2),
            stopped=rng.random() < 0.1,
            cpu=rng.choice(_CPU),
        )

    @property
    def seconds(self) -> float:
        """The least time for which an execution runs that is not stopped."""
        return self.lines * self.pause

    @property
    def output(self) -> bytes:
        """All output of an execution that is not stopped."""
        return b"".join(f"{self.request_id} line {each}\n".encode() for each in range(1, self.lines + 1))

    def script(self, runs: Path) -> str:
        """Return the Bash script of the job. Each line of `runs` has a time, the job and its execution."""
        record = f'echo "$EPOCHREALTIME {self.request_id} $started" >>{runs}'
        return "\n".join(
            [
                "started=$EPOCHREALTIME",
                record,
                f"for ((line = 1; line <= {self.lines}; line++)); do",
                f'  echo "{self.request_id} line $line"',
                f"  sleep {self.pause}",
                f"  {record}",
                "done",
                f"exit {self.exit_code}",
            ]
        )


@dataclass(frozen=True)
class Execution:
    """One execution of a job: the first and the last time at which it was seen alive, in seconds."""

    first: float
    last: float


def executions(runs: Path) -> dict[str, list[Execution]]:
    """Return the executions by request id, the oldest first."""
    times: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in runs.read_text().splitlines():
        time, request_id, started = line.split()
        times[request_id][started].append(float(time))
    return {
        request_id: sorted(
            (Execution(min(each), max(each)) for each in found.values()), key=lambda each: each.first
        )
        for request_id, found in times.items()
    }
