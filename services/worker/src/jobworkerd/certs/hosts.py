"""The names and addresses in server certificates. It does not import cryptography, see `roles`."""

import ipaddress
import socket

from jobworkerd.certs.errors import CertificatesError
from jobworkerd.host_names import is_host_name

_WILDCARD = "*."
"""The first label may be a wildcard (RFC 9525, section 6.3)."""


def check_host(host: str) -> None:
    """Check that a host can be in a certificate.

    Raises:
        CertificatesError: the host is neither an IP address nor a DNS name.
    """
    if not _is_host(host):
        raise CertificatesError(
            f"host {host!r} is neither an IP address nor a DNS name; use a name such as worker1.example.com, "
            "with international names in their xn-- form"
        )


def own_name() -> str:
    """Return the name of this host, which may not be a DNS name."""
    return socket.gethostname()


def own_hosts() -> list[str]:
    """Return the name of this host, if it is a DNS name, and the names of the loopback interface."""
    name = own_name()
    return [*([name] if _is_host(name) else []), "localhost", "127.0.0.1", "::1"]


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return is_host_name(host.removeprefix(_WILDCARD))
    return True
