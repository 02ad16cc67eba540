"""Turns a reply of the supervisor into its value or its error."""

from typing import TypeVar

from jobworkerd.errors import from_wire
from jobworkerd.protocol import input_messages, messages
from jobworkerd.protocol.login_messages import Login, LoginToken, SessionKey
from jobworkerd.protocol.metrics_messages import Metrics
from jobworkerd.protocol.node_messages import Host, Runs

T = TypeVar(
    "T",
    messages.OneJob,
    messages.JobPage,
    messages.Watching,
    input_messages.InputAccepted,
    messages.Certificates,
    LoginToken,
    Login,
    SessionKey,
    Host,
    Runs,
    Metrics,
    messages.Done,
)


class SupervisorFault(RuntimeError):
    """Raised when the supervisor reports an internal error. The log of the supervisor has the details."""


def expect(body: messages.ReplyBody, expected: type[T]) -> T:
    """Return a reply of the expected type.

    Raises:
        JobWorkerError: the supervisor refused the request.
        SupervisorFault: the supervisor failed, or sent another reply.
    """
    match body:
        case messages.Failure(name, attributes):
            raise from_wire(name, attributes)
        case messages.Fault(what):
            raise SupervisorFault(what)
        case _ if isinstance(body, expected):
            return body
    raise SupervisorFault(f"unexpected reply {type(body).__name__}")
