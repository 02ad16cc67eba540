"""Reads the decisions of a scheduler in its log."""

import re
from collections import Counter
from pathlib import Path

_BOUND = re.compile(r'"Successfully bound pod to node" pod="[^"/]+/job-([^"]+)"')
_UNFIT = re.compile(r'"Unable to schedule pod; no fit; waiting" pod="[^"/]+/job-([^"]+)"')


class SchedulerLog:
    """The decisions since this object was created."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._start = log.stat().st_size

    def bound(self) -> list[str]:
        """Return the ids of the jobs that have got a node, in this order."""
        return _BOUND.findall(self._text())

    def unfit(self) -> Counter[str]:
        """Return how often each job has been tried in vain."""
        return Counter(_UNFIT.findall(self._text()))

    def _text(self) -> str:
        return self._log.read_bytes()[self._start :].decode(errors="replace")
