"""The names by which clients reach a server. No cryptography here, as in `roles`."""

import ipaddress
import re
import socket

from jobworkerd.certs.errors import CertificatesError

# RFC 1123 labels, underscores as they occur in practice, and `*.` in front (RFC 9525, section 6.3).
_DNS_NAME = re.compile(r"(\*\.)?(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")


def check_host(host: str) -> None:
    """Checks that a host can stand in a certificate.

    Raises:
        CertificatesError: it is neither an IP address nor a DNS name.
    """
    if not _is_host(host):
        raise CertificatesError(
            f"host {host!r} is neither an IP address nor a DNS name (international names in their xn-- form)"
        )


def own_name() -> str:
    """Returns this host's name, whatever its form."""
    return socket.gethostname()


def own_hosts() -> list[str]:
    """Returns this host's name, if it is a DNS name, and the names of the loopback interface."""
    name = own_name()
    return [*([name] if _is_host(name) else []), "localhost", "127.0.0.1", "::1"]


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return len(host) <= 253 and _DNS_NAME.fullmatch(host) is not None
    return True
