"""What ends a command."""


class CommandError(Exception):
    """Raised when a command cannot do what it was asked to; `str()` is the user's sentence."""
