"""The certificates of a control plane, and the files with which its clients connect."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALIDITY = dt.timedelta(days=7)
_KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: "{server}", certificate-authority: "{ca}"}}}}]
users: [{{name: test, user: {{client-certificate: "{certificate}", client-key: "{key}"}}}}]
contexts: [{{name: test, context: {{cluster: test, user: test, namespace: "{namespace}"}}}}]
current-context: test
"""


@dataclass(frozen=True)
class Pair:
    """The files of a certificate and its key."""

    certificate: Path
    key: Path


class ClusterCertificates:
    """An authority of a test, and the certificates that it has issued."""

    def __init__(self, directory: Path) -> None:
        """Create the authority, and the key for tokens of service accounts, in a directory."""
        directory.mkdir(parents=True)
        self.directory = directory
        self.ca = directory / "ca.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("test authority")
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = self._builder(self._name, self._key.public_key())
        certificate = builder.add_extension(constraints, critical=True).sign(self._key, hashes.SHA256())
        self.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.ca_key = directory / "ca-key.pem"
        _write_key(self.ca_key, self._key)
        self.service_accounts = Pair(directory / "tokens.pub", directory / "tokens.key")
        self._write_token_key()

    def server(self, name: str, hosts: Sequence[str]) -> Pair:
        """Issue the certificate of a server with these names and addresses."""
        return self._issue(name, _name(name), ExtendedKeyUsageOID.SERVER_AUTH, hosts)

    def client(self, file_name: str, user: str, group: str | None = None) -> Pair:
        """Issue the certificate of a user of the control plane."""
        return self._issue(file_name, _name(user, group), ExtendedKeyUsageOID.CLIENT_AUTH, ())

    def kubeconfig(
        self, server: str, name: str, user: str, group: str | None = None, namespace: str = "jobworker"
    ) -> Path:
        """Issue a certificate, and write the file with which a program connects to a server."""
        pair = self.client(name, user, group)
        text = _KUBECONFIG.format(
            server=server, ca=self.ca, certificate=pair.certificate, key=pair.key, namespace=namespace
        )
        path = self.directory / f"{name}.kubeconfig"
        path.write_text(text)
        return path

    def _issue(
        self, file_name: str, subject: x509.Name, usage: x509.ObjectIdentifier, hosts: Sequence[str]
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(subject, key.public_key())
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(map(_general, hosts)), critical=False)
        pair = Pair(self.directory / f"{file_name}.pem", self.directory / f"{file_name}-key.pem")
        certificate = builder.sign(self._key, hashes.SHA256())
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        _write_key(pair.key, key)
        return pair

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        issuer = self._key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _VALIDITY)
            .not_valid_after(now + _VALIDITY)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
        )

    def _write_token_key(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        _write_key(self.service_accounts.key, key)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.service_accounts.certificate.write_bytes(public)


def _name(common_name: str, organization: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
