"""The client certificates of a gateway or an agent: when they expire, and how to renew them."""

import datetime as dt
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

_NOTICE = dt.timedelta(days=30)
"""A certificate that expires within this time has a notice, as that of a server."""

_COPIES = Path("/run/credentials")
"""Where systemd copies the files of LoadCredential= when it starts a service. They cannot be changed."""


@dataclass(frozen=True)
class ClientCertificate:
    """A certificate in use. `name` is its label in metrics, and `source` its file.

    `renewal` says how to renew it.
    """

    name: str
    source: str
    expiry: dt.datetime
    renewal: str

    def notice(self, now: dt.datetime) -> str:
        """Return when the certificate expires and how to renew it; an empty string if that has time."""
        if now + _NOTICE < self.expiry:
            return ""
        verb = "expires" if now < self.expiry else "expired"
        return f"{self.source} {verb} at {self.expiry:%Y-%m-%dT%H:%M:%SZ}; {self.renewal}"


def for_nodes(source: str, pem: bytes) -> ClientCertificate:
    """Return the certificate with which a gateway or an agent calls `jobworkerd`.

    Raises:
        ValueError: the certificate cannot be parsed.
    """
    expiry, name = _read(pem)
    files = f"{source} and its key"
    if _is_copy(source):
        files = "the files that LoadCredential= of the unit names, and restart the service"
    renewal = (
        f"renew it where ca-key.pem is, with: jobworkerd certs renew {shlex.quote(name or 'gateway')}; "
        f"then replace {files}"
    )
    return ClientCertificate("gateway", source, expiry, renewal)


def of_kubeconfig(kubeconfig: str, user: str, pem: bytes) -> ClientCertificate:
    """Return the certificate of a user in a kubeconfig.

    Raises:
        ValueError: the certificate cannot be parsed.
    """
    expiry, name = _read(pem)
    file, note = kubeconfig, ""
    if _is_copy(kubeconfig):
        file = "KUBECONFIG"
        note = "; KUBECONFIG is the file that LoadCredential= of the unit names; then restart the service"
    command = shlex.join(["kubectl", "config", "--kubeconfig", file, "set-credentials", user])
    renewal = (
        f"let Kubernetes sign another one for {name or 'the same subject'}, and set it with: "
        f"{command} --client-certificate FILE --client-key FILE --embed-certs{note}"
    )
    return ClientCertificate("kubeconfig", kubeconfig, expiry, renewal)


class ExpiryNotices:
    """The notices of certificates, which change when time passes or when certificates are renewed."""

    def __init__(self, on_change: Callable[[str, str], None]) -> None:
        """`on_change` gets the name of a certificate and its notice; an empty notice after its renewal."""
        self._on_change = on_change
        self._notices: dict[str, str] = {}

    def update(self, certificates: Iterable[ClientCertificate]) -> None:
        """Call `on_change` for each notice that has changed since the last call."""
        now = dt.datetime.now(dt.UTC)
        current = {each.name: each.notice(now) for each in certificates}
        for name in self._notices.keys() | current.keys():
            notice = current.get(name, "")
            if notice != self._notices.get(name, ""):
                self._on_change(name, notice)
        self._notices = current


def _is_copy(source: str) -> bool:
    return Path(source).is_relative_to(_COPIES)


def _read(pem: bytes) -> tuple[dt.datetime, str]:
    """Return the end of the validity and the common name, which can be empty."""
    try:
        found = x509.load_pem_x509_certificate(pem)
        names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return found.not_valid_after_utc, str(names[0].value) if names else ""
    except Exception as error:
        # The parser of the cryptography package raises undocumented exceptions.
        raise ValueError(f"the certificate cannot be parsed: {error}") from error
