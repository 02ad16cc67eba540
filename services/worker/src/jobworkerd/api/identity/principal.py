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
from jobworkerd.api.identity.authorities import Authorities
from jobworkerd.api.rpc import Context, Credential
from jobworkerd.errors import CREDENTIAL_ERRORS, CertificateRevoked, Unauthenticated
from jobworkerd.pem_parser import DamagedPem

_CACHED_CERTIFICATES = 1024


class Role(enum.Enum):
    """The role of a client. The values are those of the OU in certificates."""

    ADMIN = "Admin"
    VIEWER = "Viewer"


@dataclasses.dataclass(frozen=True, slots=True)
class Principal:
    """A client: the subject of its certificate (RFC 4514), and its role, if the certificate has one."""

    subject: str
    role: Role | None


@dataclasses.dataclass(frozen=True, slots=True)
class _Verdict:
    """The result for a credential until `expires` (seconds since the epoch); `error` if it is invalid."""

    principal: Principal | None
    expires: float = 0.0
    error: CertificateRevoked | Unauthenticated | None = None


class Identities:
    """Authenticates RPCs. The result for a certificate is cached until the authorities or the
    revocation lists are replaced."""

    def __init__(self) -> None:
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
        """Return the principal of a credential.

        Raises:
            Unauthenticated: the credential is not valid or has expired.
            CertificateRevoked: the certificate or one of its issuers is revoked.
        """
        verdict = self._verdict(presented)
        if verdict.error is not None:
            # A copy, because an exception that is raised again collects tracebacks.
            raise dataclasses.replace(verdict.error)
        assert verdict.principal
        if time.time() > verdict.expires:
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(verdict.expires))
            raise Unauthenticated(f"the client certificate or its authority expired at {when}; renew it")
        return verdict.principal

    def _judge(self, presented: Credential) -> _Verdict:
        try:
            principal = parse_certificate(presented.certificate)
            return _Verdict(principal, self._authorities.expiry(presented.certificate, presented.chain))
        except CREDENTIAL_ERRORS as error:
            return _Verdict(None, error=error)
        except DamagedPem as error:
            problem = f"the client certificates cannot be parsed ({error}); issue new ones"
            return _Verdict(None, error=Unauthenticated(problem))


def credential(context: Context) -> Credential:
    """Return the credential from the handshake.

    Raises:
        Unauthenticated: the connection is not TLS 1.3 with a client certificate.
    """
    properties = context.auth_context()
    if b"TLSv1.3" not in properties.get("ssl_tls_version", ()):
        raise Unauthenticated("the connection does not use TLS 1.3; use a client that supports it")
    for pem in properties.get("x509_pem_cert", ()):
        return Credential(pem, b"".join(properties.get("x509_pem_cert_chain", ())))
    raise Unauthenticated("the client sent no certificate; use one of the server's authority")


def parse_certificate(pem: bytes) -> Principal:
    """Return the principal of a certificate. If it has both roles, the role is Admin.

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


def _role(names: set[str]) -> Role | None:
    for role in (Role.ADMIN, Role.VIEWER):
        if role.value.casefold() in names:
            return role
    return None
