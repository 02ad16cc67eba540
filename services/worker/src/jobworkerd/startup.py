"""The error for a program that cannot start."""


class CannotStart(Exception):
    """Raised when a program cannot start. The message is for the administrator and says what to do."""
