"""The error for a program that cannot start."""


class CannotStart(Exception):
    """Raised when a program cannot start. The message is for the administrator and says what to do."""


class InUse(CannotStart):
    """Raised when another server uses a directory. A server that was killed uses it until it has ended."""
