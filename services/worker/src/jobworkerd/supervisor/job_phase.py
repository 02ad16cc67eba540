"""The phases of a job that is not final."""

import enum


class Phase(enum.Enum):
    """The phases of a live job, in this order. A failed job without a main process stays in PREPARING."""

    PREPARING = enum.auto()
    """The job acquires resources. It has no main process."""

    EXECUTING = enum.auto()
    """The main process is about to call execve(2)."""

    RUNNING = enum.auto()
    """The main process runs the command."""

    ENDING = enum.auto()
    """The main process has ended or is being killed, and so are the processes that it left."""
