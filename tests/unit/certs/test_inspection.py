"""Descriptions of the certificates in a directory."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import DAY, Issued, issue, name
from certificates import authority as make_authority
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from damaged_pem import with_unknown_version, with_untyped_name
from unusable_pairs import UNUSABLE_PAIRS, Make

from jobworkerd.certs import authority, files, inspection, issuance
from jobworkerd.certs.errors import CertificatesError
from jobworkerd.certs.roles import Role


def write(directory: Path, name: str, role: Role) -> None:
    issuer = authority.load_pair(*files.read_pair(directory, "ca"))
    pair = authority.issue(issuer, name=name, role=role)
    files.write_pairs(directory, {name: (pair.certificate_pem, pair.key_pem)}, replace=True)


def problems(directory: Path) -> dict[str, tuple[str, ...]]:
    return {found.file.name: found.problems for found in inspection.describe_all(directory) if found.problems}


def test_a_new_set_has_no_problems(made: Path) -> None:
    found = inspection.describe_all(made)
    assert [(each.file.name, each.role) for each in found] == [
        ("ca.pem", "CA"),
        ("server.pem", "server"),
        ("admin.pem", "Admin"),
        ("viewer.pem", "Viewer"),
    ]
    assert found[1].hosts == ("worker1.example.com", "192.0.2.7", "::1")
    assert [each.days_left for each in found] == [3649, 364, 364, 364]
    assert problems(made) == {}


SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
ADMIN, WORKER = name(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "worker1")])


@pytest.mark.parametrize(
    ("subject", "purposes", "role"),
    [
        (ADMIN, [CLIENT], "Admin"),
        (ADMIN, [], "Admin"),
        (ADMIN, [SERVER], "server"),
        (WORKER, [SERVER, CLIENT], "server"),
        (WORKER, [], "server"),
        (WORKER, [CLIENT], "none"),
    ],
)
def test_a_role_of_a_certificate_by_another_tool(
    subject: x509.Name, purposes: list[x509.ObjectIdentifier], role: str
) -> None:
    extensions = [x509.ExtendedKeyUsage(purposes)] if purposes else []
    ca = make_authority(ec.generate_private_key(ec.SECP256R1()))
    issued = issue(ca, subject=subject, extensions=extensions)
    assert inspection.role(x509.load_pem_x509_certificate(issued.certificate)) == role


@pytest.mark.parametrize(
    ("left", "sentence"),
    [
        (dt.timedelta(days=31), None),
        (dt.timedelta(days=30), "bob expires in 29 days; renew it with: jobworkerd certs renew bob"),
        (dt.timedelta(seconds=1), "bob has expired; renew it"),
    ],
)
def test_a_certificate_that_expires_soon_is_a_problem(
    certs: Path, monkeypatch: pytest.MonkeyPatch, left: dt.timedelta, sentence: str | None
) -> None:
    monkeypatch.setattr(authority, "LEAF_LIFETIME", left)
    write(certs, "bob", Role.VIEWER)
    found = problems(certs).get("bob.pem")
    assert found == sentence if sentence is None else (found and found[0].startswith(sentence))


def test_a_certificate_that_is_not_yet_valid_is_a_problem(
    certs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = authority.load_pair(*files.read_pair(certs, "ca"))
    monkeypatch.setattr(authority, "CLOCK_SKEW", -dt.timedelta(hours=1))
    pair = authority.issue(issuer, name="bob", role=Role.VIEWER)
    files.write_pairs(certs, {"bob": (pair.certificate_pem, pair.key_pem)}, replace=True)
    (found,) = problems(certs)["bob.pem"]
    assert found.startswith("bob is not valid before 20")


def test_a_server_key_that_clients_do_not_accept_is_a_problem(certs: Path) -> None:
    ca = Issued(*files.read_pair(certs, "ca"))
    issue(ca, ec.generate_private_key(ec.SECP521R1()), end=365 * DAY).write_server(certs)
    (found,) = problems(certs)["server.pem"]
    assert found.startswith("server has a key of type ECDSA on secp521r1, which gRPC clients do not accept")


def test_a_key_that_other_users_can_read_is_a_problem(certs: Path) -> None:
    (certs / "viewer-key.pem").chmod(0o644)
    (found,) = problems(certs)["viewer.pem"]
    assert "mode 0644" in found
    assert "chmod 600" in found


def test_a_missing_key_is_not_a_problem(certs: Path) -> None:
    (certs / "ca-key.pem").unlink()
    assert problems(certs) == {}


def test_a_certificate_of_another_authority_is_a_problem(certs: Path) -> None:
    write(certs, "bob", Role.ADMIN)
    issuance.make_first_set(certs, [], replace=True)
    assert problems(certs) == {
        "bob.pem": (
            ("bob was not issued by the authority in ca.pem; renew it with: jobworkerd certs renew bob"),
        )
    }


def test_an_empty_directory_is_an_error_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(
        CertificatesError, match="has no certificates; create them with: jobworkerd certs init"
    ):
        inspection.describe_all(tmp_path)


@pytest.mark.parametrize("damaged", [lambda _: b"junk", with_untyped_name, with_unknown_version])
def test_a_file_that_is_not_a_certificate_is_named(certs: Path, damaged: Callable[[bytes], bytes]) -> None:
    (certs / "bob.pem").write_bytes(damaged((certs / "admin.pem").read_bytes()))
    with pytest.raises(CertificatesError, match=r"bob\.pem is not a PEM certificate"):
        inspection.describe_all(certs)


def test_the_server_can_use_a_new_set(certs: Path) -> None:
    inspection.check_server(certs)


@pytest.mark.parametrize(("make", "reason"), UNUSABLE_PAIRS.values(), ids=UNUSABLE_PAIRS)
def test_the_server_cannot_use_a_pair(certs: Path, make: Make, reason: str) -> None:
    make(Issued(*files.read_pair(certs, "ca"))).write_server(certs)
    with pytest.raises(CertificatesError, match=f"{certs}/server.pem {reason}"):
        inspection.check_server(certs)


@pytest.mark.parametrize("broken", ["ca.pem", "server.pem", "server-key.pem"])
def test_the_server_cannot_use_a_file_that_is_not_pem(certs: Path, broken: str) -> None:
    (certs / broken).write_text("junk")
    with pytest.raises(CertificatesError, match=f"{broken} .* PEM"):
        inspection.check_server(certs)


@pytest.mark.parametrize("name", ["mismatched", "encrypted"])
def test_a_server_key_that_cannot_be_used_is_a_problem(certs: Path, name: str) -> None:
    make, reason = UNUSABLE_PAIRS[name]
    issued = make(Issued(*files.read_pair(certs, "ca")))
    issued.write_server(certs)
    assert any(each.startswith(f"server {reason}") for each in problems(certs)["server.pem"])
    (certs / "server-key.pem").unlink()
    assert not any(reason in each for each in problems(certs)["server.pem"])
