"""Who calls: from the client's certificate to a principal.

A role is an organizational unit (OU) of the certificate's subject, compared whole and without regard to
case. The certificate is parsed; its printed subject is never searched, where a comma in a name could
pass for another attribute.
"""

import dataclasses
import enum
import functools

from cryptography import x509
from cryptography.x509.oid import NameOID

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


class Identities:
    """Tells who is behind an RPC; a certificate that comes again is not parsed again."""

    def __init__(self) -> None:
        self._principal_of = functools.lru_cache(maxsize=_CACHED_CERTIFICATES)(parse_certificate)

    def principal(self, context: Context) -> Principal:
        """Returns who calls.

        Raises:
            Unauthenticated: the connection is not TLS 1.3 with a client certificate.
        """
        properties = context.auth_context()
        if b"TLSv1.3" not in properties.get("ssl_tls_version", ()):
            raise Unauthenticated("TLS 1.3 is required: use a client that can speak it")
        for pem in properties.get("x509_pem_cert", ()):
            return self._principal_of(pem)
        raise Unauthenticated("a client certificate is required")


def parse_certificate(pem: bytes) -> Principal:
    """Returns whom a certificate names; one that names both roles is an Admin's.

    Raises:
        Unauthenticated: it is no certificate that can be read.
    """
    try:
        subject = x509.load_pem_x509_certificate(pem).subject
        units = subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        names = {str(unit.value).casefold() for unit in units}
        return Principal(subject.rfc4514_string(), _role(names))
    except ValueError as error:
        raise Unauthenticated("the client certificate cannot be read; have a new one issued") from error


def _role(names: set[str]) -> Role | None:
    for role in (Role.ADMIN, Role.VIEWER):
        if role.value.casefold() in names:
            return role
    return None
