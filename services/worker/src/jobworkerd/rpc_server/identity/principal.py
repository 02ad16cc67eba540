"""Derives the principal of an RPC from the certificate of the client.

A role is an organizational unit (OU) of the subject. The whole value is compared, without regard to case. The
OU comes from the parsed certificate. In the printed subject, a comma in a name could look like another
attribute.

TLS checks a certificate only in the handshake, and a connection can outlive its certificate. So each RPC
checks validity, authority and revocation again.
"""

import dataclasses
import enum
import functools
import time

from cryptography.x509.oid import NameOID

from jobworkerd import pem_parser
from jobworkerd.errors import CREDENTIAL_ERRORS, CertificateRevoked, Unauthenticated
from jobworkerd.pem_parser import DamagedPem
from jobworkerd.rpc_server.bounds import SUBJECT
from jobworkerd.rpc_server.identity.authorities import Authorities
from jobworkerd.rpc_server.identity.session_token import MAX_BYTES, METADATA_KEY, Sessions
from jobworkerd.rpc_server.rpc import Context, Credential

SUBJECT_KEY = "jobworker-subject-bin"
"""The metadata with the subject of the user for whom a gateway acts."""

_CACHED_CERTIFICATES = 1024


class Role(enum.Enum):
    """The role of a client. The values are those of the OU in certificates."""

    ADMIN = "Admin"
    VIEWER = "Viewer"
    DELEGATE = "Delegate"
    """Acts for users that have logged in, with their roles."""
    GATEWAY = "Gateway"
    """Runs the jobs of a cluster on this host, and acts for all users of the cluster."""


@dataclasses.dataclass(frozen=True, slots=True)
class Principal:
    """A client: the subject of its certificate (RFC 4514), and its role, if the certificate has one.

    `delegate` is the subject of the delegate that acts for the client, and `gateway` that of the gateway;
    empty without one.
    """

    subject: str
    role: Role | None
    delegate: str = ""
    gateway: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class _Valid:
    """The result for a valid certificate until `expires` (seconds since the epoch)."""

    principal: Principal
    expires: float


@dataclasses.dataclass(frozen=True, slots=True)
class _Invalid:
    """The result for a certificate that is not valid."""

    error: CertificateRevoked | Unauthenticated


class Identities:
    """Authenticates RPCs. The result for a certificate is cached until the authorities or the
    revocation lists are replaced."""

    def __init__(self, sessions: Sessions, *, is_host: bool = False) -> None:
        """Only a host lets gateways act for users; a gateway has to check the users itself."""
        self._sessions = sessions
        self._is_host = is_host
        self._authorities = Authorities(b"")
        self._verdict = functools.lru_cache(maxsize=_CACHED_CERTIFICATES)(self._judge)

    def trust(self, authorities: bytes, crl: bytes | None = None) -> None:
        """Replace `ca.pem` and `crl.pem`. Certificates of other authorities are refused from now on.

        Raises:
            ValueError: a file is damaged, or none of the authorities signed a list; nothing has changed.
        """
        self._authorities = Authorities(authorities, crl)
        self._verdict.cache_clear()

    def principal(self, context: Context) -> Principal:
        """Return the client of an RPC.

        Raises:
            Unauthenticated: the connection is not TLS 1.3 with a client certificate, or the certificate
                is not valid.
            CertificateRevoked: the certificate or one of its issuers is revoked.
        """
        return self.check(credential(context))

    def check(self, presented: Credential) -> Principal:
        """Return the principal of a credential: with a session or a subject, the user for whom the delegate
        or the gateway acts.

        Raises:
            Unauthenticated: the credential is not valid or has expired.
            CertificateRevoked: the certificate or one of its issuers is revoked.
        """
        if presented.subject:
            return self._gateways_user(presented)
        if not presented.session:
            return self._valid(presented).principal
        delegate = self._valid(of_connection(presented)).principal
        if delegate.role is not Role.DELEGATE:
            raise Unauthenticated(
                f"{METADATA_KEY} needs a certificate with OU Delegate; omit it to call with your own role"
            )
        session = self._sessions.verify(presented.session, delegate.subject)
        user = self._valid(Credential(session.certificate, session.chain)).principal
        return Principal(user.subject, user.role, delegate.subject)

    def _gateways_user(self, presented: Credential) -> Principal:
        gateway = self._valid(of_connection(presented)).principal
        if not self._is_host or gateway.role is not Role.GATEWAY or presented.session:
            raise Unauthenticated(
                f"{SUBJECT_KEY} needs a certificate with OU Gateway, a host and no {METADATA_KEY}; "
                "omit it to call with your own role"
            )
        # The gateway has checked the role of the user.
        return Principal(presented.subject, Role.ADMIN, gateway=gateway.subject)

    def expiry(self, presented: Credential) -> float:
        """Return the expiry of a certificate or its authority, in seconds since the epoch.

        Raises:
            Unauthenticated: the certificate is not valid or has expired.
            CertificateRevoked: the certificate or one of its issuers is revoked.
        """
        return self._valid(presented).expires

    def _valid(self, presented: Credential) -> "_Valid":
        verdict = self._verdict(presented)
        if isinstance(verdict, _Invalid):
            # A copy, because an exception that is raised again collects tracebacks.
            raise dataclasses.replace(verdict.error)
        if time.time() > verdict.expires:
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(verdict.expires))
            raise Unauthenticated(f"the client certificate or its authority expired at {when}; renew it")
        return verdict

    def _judge(self, presented: Credential) -> "_Valid | _Invalid":
        try:
            principal = parse_certificate(presented.certificate)
            _check_size(principal.subject)
            return _Valid(principal, self._authorities.expiry(presented.certificate, presented.chain))
        except CREDENTIAL_ERRORS as error:
            return _Invalid(error)
        except DamagedPem as error:
            problem = f"the client certificates cannot be parsed ({error}); issue new ones"
            return _Invalid(Unauthenticated(problem))


def credential(context: Context) -> Credential:
    """Return the credential from the handshake.

    Raises:
        Unauthenticated: the connection is not TLS 1.3 with a client certificate.
    """
    properties = context.auth_context()
    if b"TLSv1.3" not in properties.get("ssl_tls_version", ()):
        raise Unauthenticated("the connection does not use TLS 1.3; use a client that supports it")
    for pem in properties.get("x509_pem_cert", ()):
        chain = b"".join(properties.get("x509_pem_cert_chain", ()))
        return Credential(pem, chain, _session(context), _subject(context))
    raise Unauthenticated("the client sent no certificate; use one of the server's authority")


def _session(context: Context) -> bytes:
    """Return the session token in the metadata; empty without one.

    Raises:
        Unauthenticated: there are several tokens, or one that no server signs.
    """
    found = [value for key, value in context.invocation_metadata() or () if key == METADATA_KEY]
    if not found:
        return b""
    token = found[0]
    if len(found) > 1 or not isinstance(token, bytes) or not 0 < len(token) <= MAX_BYTES:
        raise Unauthenticated(f"{METADATA_KEY} is not one session token; log in again")
    return token


def _subject(context: Context) -> str:
    """Return the subject of the user for whom a gateway acts; empty without one.

    Raises:
        Unauthenticated: there are several subjects, or one that no certificate can have.
    """
    found = [value for key, value in context.invocation_metadata() or () if key == SUBJECT_KEY]
    if not found:
        return ""
    raw = found[0]
    try:
        if len(found) == 1 and isinstance(raw, bytes) and SUBJECT.minimum <= len(raw) <= SUBJECT.maximum:
            return raw.decode()
    except UnicodeDecodeError:
        pass
    raise Unauthenticated(f"{SUBJECT_KEY} is not one subject in UTF-8, with {SUBJECT.accepted}")


def of_connection(presented: Credential) -> Credential:
    """Return the credential of the connection alone."""
    return Credential(presented.certificate, presented.chain)


def parse_certificate(pem: bytes) -> Principal:
    """Return the principal of a certificate. If it has several roles, the first one in `Role` wins.

    Raises:
        Unauthenticated: the certificate cannot be parsed.
    """
    try:
        subject = pem_parser.certificate(pem).subject
    except DamagedPem as error:
        raise Unauthenticated(
            f"the client certificate cannot be parsed ({error}); issue a new one"
        ) from error
    units = subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    names = {str(unit.value).casefold() for unit in units}
    return Principal(subject.rfc4514_string(), _role(names))


def _check_size(subject: str) -> None:
    """Check that a subject fits into the fields and the metadata that name a user.

    Raises:
        Unauthenticated: it does not.
    """
    if problem := SUBJECT.size_problem(len(subject.encode())):
        raise Unauthenticated(
            f"the subject of the client certificate {problem}; issue a certificate with a shorter one"
        )


def _role(names: set[str]) -> Role | None:
    for role in Role:
        if role.value.casefold() in names:
            return role
    return None
