"""Logins of a shared dashboard, with one-time tokens that users have created with their certificates."""

from jobworker.v1 import login_service_pb2
from jobworker_dashboard.backend import Backend
from jobworker_dashboard.connect_error import ConnectError
from jobworker_dashboard.sessions import Session

_REDEEM = "/jobworker.v1.LoginService/RedeemLogin"
_METADATA_KEY = "jobworker-session-bin"
_SECONDS = 10.0


class DelegatedLogin:
    """Begins sessions for users. The certificate of the dashboard has the role Delegate."""

    mode = "delegated"

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def session(self, token: str) -> Session:
        """Return a session that calls the server as the user who created the token.

        Raises:
            ConnectError: the token is not valid, or the server did not answer.
        """
        request = login_service_pb2.RedeemLoginRequest(token=token).SerializeToString()
        try:
            answer = await self._backend.unary(_REDEEM, request, (), _SECONDS)
        except ConnectError as error:
            if error.code == "invalid_argument":
                raise ConnectError("unauthenticated", error.message, error.details) from None
            raise
        login = login_service_pb2.RedeemLoginResponse.FromString(answer)
        return Session(
            login.identity.subject,
            login.identity.role,
            ((_METADATA_KEY, login.session_token),),
            login.expire_time.ToMilliseconds() / 1_000,
        )
