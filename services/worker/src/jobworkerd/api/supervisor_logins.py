"""The logins of a host: its supervisor has the one-time tokens, and signed tokens are the sessions."""

from jobworkerd.protocol.client import SupervisorClient
from jobworkerd.protocol.login_messages import CreateLogin, Login, LoginToken, RedeemLogin
from jobworkerd.protocol.replies import expect
from jobworkerd.rpc_server.identity.session_token import DelegatedSession, SessionTokens


class SupervisorLogins:
    """The logins that all API processes share. Each method raises JobWorkerError if the supervisor fails."""

    def __init__(self, supervisor: SupervisorClient, sessions: SessionTokens) -> None:
        self._supervisor = supervisor
        self._sessions = sessions

    async def create(self, request: CreateLogin) -> LoginToken:
        """Return a new one-time token."""
        return expect(await self._supervisor.request(request)[1], LoginToken)

    async def redeem(self, request: RedeemLogin) -> Login:
        """Use a one-time token up, and return the certificate of its client."""
        # Without the key no session can begin, and the token would be used up in vain.
        await self._sessions.load_key()
        return expect(await self._supervisor.request(request)[1], Login)

    async def begin(self, user: str, session: DelegatedSession) -> bytes:  # noqa: ARG002 - the token has the user
        """Return the token of a new session."""
        return self._sessions.sign(session)
