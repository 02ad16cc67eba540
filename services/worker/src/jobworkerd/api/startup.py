"""What keeps the API process from starting."""


class CannotStart(Exception):
    """Raised when the process cannot serve; `str()` is a sentence for the operator."""
