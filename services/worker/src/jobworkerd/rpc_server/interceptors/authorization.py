"""Decides whether a client can call a method, and logs each decision."""

import structlog

from jobworkerd.errors import CREDENTIAL_ERRORS, RoleRequired
from jobworkerd.rpc_server.active_calls import ActiveCalls
from jobworkerd.rpc_server.identity.policy import NOT_DELEGATED, SERVICE_FOR_USERS, roles_for
from jobworkerd.rpc_server.identity.principal import Identities, Principal, Role, credential
from jobworkerd.rpc_server.interceptors.server_interceptor import Run, ServerInterceptor
from jobworkerd.rpc_server.log_lines import PER_CALL
from jobworkerd.rpc_server.rpc import Call, Credential, is_long, log_job_id


class Authorization(ServerInterceptor):
    """Allows an RPC if the policy has the role of the client for its method.

    All later log lines of the RPC have the subject and the role of the client. A stream or a wait
    ends when the certificate of its client expires or is revoked (see `ActiveCalls`).
    """

    def __init__(self, identities: Identities, active_calls: ActiveCalls) -> None:
        self._identities = identities
        self._in_flight = active_calls
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger(PER_CALL).bind()

    async def intercept(self, call: Call, run: Run) -> object:
        presented = self._authorize(call)
        with self._in_flight.enter(presented if is_long(call.method) else None):
            return await run(call)

    def _authorize(self, call: Call) -> Credential:
        """Return the credential of a client that can call the method."""
        try:
            presented = call.credential or credential(call.context)
            principal = self._identities.check(presented)
        except CREDENTIAL_ERRORS as error:
            self._deny(call, str(error))
            raise
        role = principal.role.value if principal.role else ""
        structlog.contextvars.bind_contextvars(subject=principal.subject, role=role)
        if principal.delegate:
            structlog.contextvars.bind_contextvars(delegate=principal.delegate)
        if principal.gateway:
            structlog.contextvars.bind_contextvars(gateway=principal.gateway)
        self._check_role(call, principal, role)
        return presented

    def _check_role(self, call: Call, principal: Principal, role: str) -> None:
        allowed = roles_for(call.method)
        if principal.delegate and (principal.role is Role.DELEGATE or call.method in NOT_DELEGATED):
            role = f"{role} through a delegate"
        elif principal.gateway and not call.method.startswith(SERVICE_FOR_USERS):
            role = f"{role} through a gateway"
        elif principal.role in allowed:
            self._decided(call, "allowed", f"role {role} is allowed")
            return
        error = RoleRequired(
            method=call.method, required=" or ".join(role.value for role in allowed), role=role
        )
        self._deny(call, str(error))
        raise error

    def _deny(self, call: Call, reason: str) -> None:
        log_job_id(call.request)
        self._decided(call, "denied", reason)

    def _decided(self, call: Call, decision: str, reason: str) -> None:
        self._log.info("authorization", method=call.method, decision=decision, reason=reason)
