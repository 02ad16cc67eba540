"""The caller of an RPC: from the client's certificate to a principal.

A role is an organizational unit (OU) of the certificate's subject, compared whole and without regard to
case. The certificate is parsed; its printed subject is never searched, where a comma in a name could
pass for another attribute.

TLS checks a certificate in the handshake only, and a connection may outlive it. So its validity and its
authority are checked again here, on each RPC.
"""

import dataclasses
import enum
import functools
import time

from cryptography import x509
from cryptography.x509.oid import NameOID

from jobworkerd.api.identity.authorities import Authorities
from jobworkerd.api.rpc import Context
from jobworkerd.errors import Unauthenticated

_CACHED_CERTIFICATES = 1024


class Role(enum.Enum):
    """What a caller may do, under the name that its certificate's OU has."""

    ADMIN = "Admin"
    VIEWER = "Viewer"


@dataclasses.dataclass(frozen=True, slots=True)
class Principal:
    """A caller: its certificate's subject (RFC 4514), and its role if the certificate gives one."""

    subject: str
    role: Role | None


@dataclasses.dataclass(frozen=True, slots=True)
class Credential:
    """A client's certificate, with those between it and the authority: PEM blocks, as TLS received them."""

    certificate: bytes
    chain: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class _Verdict:
    """What a credential is worth until `expires` (seconds since the epoch); `problem` if nothing."""

    principal: Principal | None
    expires: float
    problem: str = ""


class Identities:
    """Authenticates RPCs. The verdict on a certificate is kept until the authority is replaced."""

    def __init__(self) -> None:
        self._authorities = Authorities(b"")
        self._verdict = functools.lru_cache(maxsize=_CACHED_CERTIFICATES)(self._judge)

    def trust(self, authorities: bytes) -> None:
        """Takes a new `ca.pem`; certificates of authorities that are not in it are refused from now on.

        Raises:
            ValueError: it has no certificate that can be read.
        """
        self._authorities = Authorities(authorities)
        self._verdict.cache_clear()

    def principal(self, context: Context) -> Principal:
        """Returns the caller.

        Raises:
            Unauthenticated: the connection is not TLS 1.3 with a client certificate, or the certificate
                is no longer valid.
        """
        return self.check(credential(context))

    def check(self, presented: Credential) -> Principal:
        """Returns the holder of a credential.

        Raises:
            Unauthenticated: it is not valid, or not any more.
        """
        verdict = self._verdict(presented)
        if verdict.principal is None:
            raise Unauthenticated(verdict.problem)
        if time.time() > verdict.expires:
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(verdict.expires))
            raise Unauthenticated(f"the client certificate or its authority expired at {when}; renew it")
        return verdict.principal

    def _judge(self, presented: Credential) -> _Verdict:
        try:
            principal = parse_certificate(presented.certificate)
            return _Verdict(principal, self._authorities.expiry(presented.certificate, presented.chain))
        except Unauthenticated as error:
            return _Verdict(None, 0.0, str(error))
        except ValueError as error:
            return _Verdict(None, 0.0, f"the client certificates cannot be parsed ({error}); issue new ones")


def credential(context: Context) -> Credential:
    """Returns what the client presented in the handshake.

    Raises:
        Unauthenticated: the connection is not TLS 1.3 with a client certificate.
    """
    properties = context.auth_context()
    if b"TLSv1.3" not in properties.get("ssl_tls_version", ()):
        raise Unauthenticated("TLS 1.3 is required: use a client that supports it")
    for pem in properties.get("x509_pem_cert", ()):
        return Credential(pem, b"".join(properties.get("x509_pem_cert_chain", ())))
    raise Unauthenticated("a client certificate is required")


def parse_certificate(pem: bytes) -> Principal:
    """Returns the holder of a certificate; one that names both roles is an Admin's.

    Raises:
        Unauthenticated: the certificate cannot be parsed.
    """
    try:
        subject = x509.load_pem_x509_certificate(pem).subject
        units = subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        names = {str(unit.value).casefold() for unit in units}
        return Principal(subject.rfc4514_string(), _role(names))
    except Exception as error:
        # The parser raises more than it documents, such as LookupError.
        raise Unauthenticated(
            f"the client certificate cannot be parsed ({type(error).__name__}: {error}); issue a new one"
        ) from error


def _role(names: set[str]) -> Role | None:
    for role in (Role.ADMIN, Role.VIEWER):
        if role.value.casefold() in names:
            return role
    return None
