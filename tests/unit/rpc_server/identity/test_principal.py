"""Principals of certificates."""

import datetime as dt
import time
from collections.abc import Callable, Iterable, Sequence
from unittest.mock import AsyncMock

import pytest
from certificates import Issued, issue, name
from certificates import authority as make_authority
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from damaged_pem import with_unknown_version, with_untyped_name

from jobworkerd.certs import revocation_list
from jobworkerd.certs.authority import load_pair
from jobworkerd.errors import CertificateRevoked, Unauthenticated
from jobworkerd.rpc_server.identity.principal import Identities, Principal, Role, parse_certificate
from jobworkerd.rpc_server.identity.session_token import SessionTokens
from jobworkerd.rpc_server.rpc import Credential

Attributes = Sequence[tuple[x509.ObjectIdentifier, str]]

OU = NameOID.ORGANIZATIONAL_UNIT_NAME
CN = NameOID.COMMON_NAME


def _pem(subject: Attributes, issuer: Attributes = ((CN, "authority"),)) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=36_500))
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _name(attributes: Attributes) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


@pytest.mark.parametrize(
    ("units", "role"),
    [
        (["Admin"], Role.ADMIN),
        (["Viewer"], Role.VIEWER),
        (["ADMIN"], Role.ADMIN),
        (["viewer"], Role.VIEWER),
        (["Engineering", "Viewer"], Role.VIEWER),
        (["Viewer", "Admin"], Role.ADMIN),
        (["Delegate"], Role.DELEGATE),
        (["Delegate", "Viewer"], Role.VIEWER),
        ([], None),
        (["Administrators"], None),
        (["Admin "], None),
        (["Not Admin"], None),
        (["Admin,OU=Viewer"], None),
    ],
)
def test_a_role_is_a_whole_organizational_unit(units: list[str], role: Role | None) -> None:
    assert parse_certificate(_pem([(OU, unit) for unit in units])).role is role


@pytest.mark.parametrize(
    "pem",
    [
        _pem([(CN, "Admin")]),
        _pem([(CN, "x,OU=Admin")]),
        _pem([(CN, "x\nOU=Admin")]),
        _pem([(NameOID.ORGANIZATION_NAME, "Admin")]),
        _pem([(CN, "x")], issuer=[(OU, "Admin")]),
    ],
    ids=["cn", "cn-with-comma", "cn-with-newline", "organization", "issuer"],
)
def test_other_parts_of_a_certificate_give_no_role(pem: bytes) -> None:
    assert parse_certificate(pem).role is None


def test_the_subject_has_the_format_of_rfc_4514() -> None:
    pem = _pem([(NameOID.ORGANIZATION_NAME, "Acme, Inc."), (OU, "Admin"), (CN, "alice")])
    assert parse_certificate(pem) == Principal("CN=alice,OU=Admin,O=Acme\\, Inc.", Role.ADMIN)


@pytest.mark.parametrize("is_host", [True, False], ids=["host", "gateway"])
def test_a_subject_is_refused_if_it_is_too_long_for_a_call_to_a_node(*, is_host: bool) -> None:
    def principal(length: int) -> Principal:
        names = [x509.NameAttribute(CN, "x" * 60 + "é") for _ in range(62)]
        client = issue(AUTHORITY, subject=x509.Name([*names, x509.NameAttribute(CN, "y" * length)]))
        identities = Identities(SessionTokens(AsyncMock()), is_host=is_host)
        identities.trust(AUTHORITY.certificate)
        return identities.check(Credential(client.certificate, b""))

    assert len(principal(1).subject.encode()) == 4_096
    with pytest.raises(Unauthenticated, match="the client certificate has 4097 bytes; use at most"):
        principal(2)


class _Connection:
    """A context with the properties of a connection."""

    def __init__(self, version: bytes | None, pem: bytes | None) -> None:
        self._properties = {"ssl_tls_version": version, "x509_pem_cert": pem}

    def auth_context(self) -> dict[str, Iterable[bytes]]:
        return {name: [value] for name, value in self._properties.items() if value is not None}

    def invocation_metadata(self) -> None:
        """Return no metadata."""


ADMIN_PEM = _pem([(OU, "Admin"), (CN, "alice")])


@pytest.mark.parametrize(
    ("version", "pem"),
    [
        (b"TLSv1.2", ADMIN_PEM),
        (None, ADMIN_PEM),
        (b"TLSv1.3", None),
        (b"TLSv1.3", b"nonsense"),
        (None, None),
    ],
)
def test_a_connection_without_identity_is_refused(version: bytes | None, pem: bytes | None) -> None:
    with pytest.raises(Unauthenticated):
        Identities(SessionTokens(AsyncMock())).principal(_Connection(version, pem))  # type: ignore[arg-type]  # the part that is used


AUTHORITY = make_authority(ec.generate_private_key(ec.SECP256R1()))


def _identities(*authorities: Issued) -> Identities:
    identities = Identities(SessionTokens(AsyncMock()))
    identities.trust(b"".join(each.certificate for each in authorities))
    return identities


def _principal(identities: Identities, issued: Issued, chain: bytes = b"") -> Principal:
    return identities.check(Credential(issued.certificate, chain))


def test_a_certificate_over_tls_1_3_is_a_principal() -> None:
    connection = _Connection(b"TLSv1.3", issue(AUTHORITY).certificate)
    assert _identities(AUTHORITY).principal(connection) == Principal("OU=Admin", Role.ADMIN)  # type: ignore[arg-type]  # the part that is used


def test_a_certificate_that_expires_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    identities, issued = _identities(AUTHORITY), issue(AUTHORITY, end=dt.timedelta(minutes=1))
    _principal(identities, issued)
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(Unauthenticated, match="expired at 20"):
        _principal(identities, issued)


def test_a_certificate_of_a_replaced_authority_is_refused() -> None:
    identities, issued = _identities(AUTHORITY), issue(AUTHORITY)
    _principal(identities, issued)
    other = make_authority(ec.generate_private_key(ec.SECP256R1()))
    identities.trust(other.certificate + AUTHORITY.certificate)
    _principal(identities, issued)
    identities.trust(other.certificate)
    with pytest.raises(Unauthenticated, match="not issued by the server's current authority"):
        _principal(identities, issued)
    _principal(identities, issue(other))


def test_a_certificate_of_an_intermediate_authority_is_accepted() -> None:
    middle = issue(AUTHORITY, subject=name(), end=dt.timedelta(hours=1))
    leaf = issue(middle, end=dt.timedelta(hours=2))
    identities = _identities(AUTHORITY)
    _principal(identities, leaf, leaf.certificate + middle.certificate)
    with pytest.raises(Unauthenticated):
        _principal(identities, leaf)


def test_an_expired_intermediate_authority_invalidates_its_certificates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    middle = issue(AUTHORITY, subject=name(), end=dt.timedelta(hours=1))
    leaf = issue(middle, end=dt.timedelta(hours=2))
    later = time.time() + 3_700
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(Unauthenticated, match="expired"):
        _principal(_identities(AUTHORITY), leaf, middle.certificate)


def test_a_revoked_intermediate_authority_invalidates_its_certificates() -> None:
    middle = issue(AUTHORITY, subject=name(), end=dt.timedelta(hours=1))
    leaf, identities = issue(middle), _identities(AUTHORITY)
    serial = x509.load_pem_x509_certificate(middle.certificate).serial_number
    crl = revocation_list.add(load_pair(AUTHORITY.certificate, AUTHORITY.key), b"", serial)
    _principal(identities, leaf, middle.certificate)
    identities.trust(AUTHORITY.certificate, crl)
    for _ in range(2):
        with pytest.raises(CertificateRevoked, match=f"of OU=Admin with serial number {serial:x}"):
            _principal(identities, leaf, middle.certificate)


def test_unusable_lists_leave_the_present_ones_in_use() -> None:
    issued, identities = issue(AUTHORITY), _identities(AUTHORITY)
    serial = x509.load_pem_x509_certificate(issued.certificate).serial_number
    crl = revocation_list.add(load_pair(AUTHORITY.certificate, AUTHORITY.key), b"", serial)
    identities.trust(AUTHORITY.certificate, crl)
    with pytest.raises(ValueError, match="PEM"):
        identities.trust(AUTHORITY.certificate, crl[:-40])
    with pytest.raises(CertificateRevoked):
        _principal(identities, issued)


@pytest.mark.parametrize("damaged", [with_unknown_version, with_untyped_name])
def test_a_damaged_certificate_is_refused(damaged: Callable[[bytes], bytes]) -> None:
    admin = name(x509.NameAttribute(CN, "admin"))
    client, authority = issue(AUTHORITY, subject=admin), damaged(AUTHORITY.certificate)
    identities = _identities(AUTHORITY)
    with pytest.raises(Unauthenticated, match="cannot be parsed"):
        _principal(identities, Issued(damaged(client.certificate), client.key))
    if damaged is with_unknown_version:
        with pytest.raises(Unauthenticated, match="cannot be parsed"):
            _principal(identities, client, chain=authority)
        with pytest.raises(ValueError, match="InvalidVersion"):
            identities.trust(authority)
    assert _principal(identities, client).role is Role.ADMIN


class TestGateway:
    """The user that a gateway names."""

    USER = "CN=alice,OU=Viewer"

    def _user(self, unit: str, *, is_host: bool = True, session: bytes = b"") -> Principal:
        identities = Identities(SessionTokens(AsyncMock()), is_host=is_host)
        identities.trust(AUTHORITY.certificate)
        issued = issue(AUTHORITY, subject=x509.Name([x509.NameAttribute(OU, unit)]))
        return identities.check(Credential(issued.certificate, b"", session, self.USER))

    def test_a_host_believes_a_gateway(self) -> None:
        assert self._user("Gateway") == Principal(self.USER, Role.ADMIN, gateway="OU=Gateway")

    @pytest.mark.parametrize("unit", ["Admin", "Viewer", "Delegate"])
    def test_no_other_role_can_name_a_user(self, unit: str) -> None:
        with pytest.raises(Unauthenticated, match="OU Gateway"):
            self._user(unit)

    def test_a_gateway_does_not_believe_another_one(self) -> None:
        with pytest.raises(Unauthenticated, match="a host"):
            self._user("Gateway", is_host=False)

    def test_a_gateway_cannot_name_a_user_and_have_a_session(self) -> None:
        with pytest.raises(Unauthenticated):
            self._user("Gateway", session=b"token")
