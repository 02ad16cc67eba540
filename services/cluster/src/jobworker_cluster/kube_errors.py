"""The errors of calls to the apiserver, by what a caller can do about them."""

_TOO_NEW = "Too large resource version"
"""In the message of such a 504 (NewTooLargeResourceVersionError of k8s.io/apiserver)."""

_OTHER_UID = "metadata.uid: Invalid value"
"""In the message of a 422 to a patch whose uid is that of an earlier object with this name."""

_QUOTA = "exceeded quota"
"""In the message of a 403 because of a ResourceQuota (k8s.io/apiserver, plugin resourcequota)."""


class KubeError(Exception):
    """A request failed. `status` is the HTTP status, 0 without an answer; `str()` is the message."""

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


class QuotaUsedUp(KubeError):
    """The namespace has as many objects, or as much CPU or memory, as its ResourceQuota allows."""


class Refused(KubeError):
    """The apiserver does not accept the request, and will not accept it again until something changes."""

    @property
    def lacks_right(self) -> bool:
        """Whether the identity of the client has no right to the request, whatever the object is."""
        return False


class Unauthorized(Refused):
    """The apiserver does not accept the client certificate or the token."""

    @property
    def lacks_right(self) -> bool:
        """See Refused."""
        return True


class Forbidden(Refused):
    """The client lacks a right, or a policy of the cluster forbids the object."""

    @property
    def lacks_right(self) -> bool:
        """See Refused. The message names the user, the verb and the resource then."""
        return 'forbidden: User "' in str(self)


class TooLarge(Refused):
    """The object has more bytes than the apiserver, etcd or a proxy between them accepts."""


class Invalid(Refused):
    """A field of the object has a value that Kubernetes or a policy of the cluster does not accept."""


_KINDS: dict[int, type[KubeError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    408: Unreachable,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    422: Invalid,
    429: Unreachable,
}


def from_answer(status: int, message: str) -> KubeError:
    """Return the error for the HTTP status and the message of an answer."""
    if status == 401:
        message = f"{message}: the apiserver does not accept the client certificate or the token; renew it"
    return _kind(status, message)(status, message)


def _kind(status: int, message: str) -> type[KubeError]:
    if _TOO_NEW in message:
        return TooNew
    if status == 403 and _QUOTA in message:
        return QuotaUsedUp
    if status == 422 and _OTHER_UID in message:
        return Conflict
    if status >= 500 or status == 0:
        return Unreachable
    return _KINDS.get(status, Refused)
