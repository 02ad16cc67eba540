"""The errors of calls to the apiserver, by what a caller can do about them."""

_TOO_NEW = "Too large resource version"
"""In the message of such a 504 (NewTooLargeResourceVersionError of k8s.io/apiserver)."""


class KubeError(Exception):
    """The apiserver refused a request. `status` is the HTTP status, `str()` the message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NotFound(KubeError):
    """The object does not exist."""


class Conflict(KubeError):
    """The object exists already, or it has changed, or a precondition does not hold."""


class Gone(KubeError):
    """The resource version is too old for a watch or for the next page."""


class TooNew(KubeError):
    """The apiserver has never seen the resource version: its store was restored from a backup."""


class Unreachable(KubeError):
    """The apiserver did not answer, or it cannot answer now. The request may have been executed."""


def from_answer(status: int, message: str) -> KubeError:
    """Return the error for the HTTP status and the message of an answer."""
    return _kind(status, message)(status, message)


def _kind(status: int, message: str) -> type[KubeError]:
    known: dict[int, type[KubeError]] = {404: NotFound, 409: Conflict, 410: Gone, 429: Unreachable}
    if _TOO_NEW in message:
        return TooNew
    if status >= 500 or status == 0:
        return Unreachable
    return known.get(status, KubeError)
