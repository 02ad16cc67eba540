"""What keeps the server from starting."""


class CannotStart(RuntimeError):
    """Raised when the server cannot start for a reason that the administrator can mend; a sentence."""
