"""Replaces the authority without a time in which clients or the server are refused, and revokes certificates.

During a rollover, `ca.pem` has the new authority first and the previous one second, so that both are trusted.
`ca-key.pem` is the key of the new one. The key of the previous one signs revocations of its certificates.
"""

import re
from pathlib import Path

from cryptography import x509

from jobworkerd.certs import authority, files, hosts, inspection, revocation
from jobworkerd.certs.errors import CertificatesError

_SERIAL = re.compile(r"(?:0[xX])?[0-9a-fA-F:]+")


def start(directory: Path) -> list[Path]:
    """Create a new authority beside the present one; return the changed files.

    Raises:
        CertificatesError: a rollover is in progress, or the present authority cannot be used.
        OSError: a file cannot be written; all files are unchanged.
    """
    if len(inspection.load_authorities(directory)) > 1:
        raise CertificatesError(
            f"{directory}/ca.pem already has several authorities; finish the rollover with: "
            "jobworkerd certs retire"
        )
    old = authority.load_pair(*files.read_pair(directory, files.AUTHORITY))
    new = authority.make_authority(hosts.own_name())
    return files.write_all(
        directory,
        {
            files.PREVIOUS_KEY: old.key_pem,
            files.AUTHORITY_KEY: new.key_pem,
            f"{files.AUTHORITY}.pem": new.certificate_pem + old.certificate_pem,
        },
    )


def retire(directory: Path, *, force: bool) -> list[Path]:
    """Remove all authorities but the first one; return the changed files.

    `force` retires them although they issued certificates in the directory.

    Raises:
        CertificatesError: no rollover is in progress, the authority cannot be used, or certificates in the
            directory are still of the previous authority.
        OSError: a file cannot be written; all files are unchanged.
    """
    new = authority.load_pair(*files.read_pair(directory, files.AUTHORITY))
    if len(inspection.load_authorities(directory)) == 1:
        raise CertificatesError(
            f"{directory}/ca.pem has only one authority; start with: jobworkerd certs rollover"
        )
    if (left := _not_renewed(directory, new.certificate)) and not force:
        raise CertificatesError(
            f"{', '.join(left)}: issued by the previous authority; renew with `jobworkerd certs renew "
            "--all`, copy the files to the clients, and then retire it; or use --force"
        )
    contents = {f"{files.AUTHORITY}.pem": new.certificate_pem}
    lists = files.revocations_file(directory)
    if lists.exists():
        contents[lists.name] = revocation.keep(new, lists.read_bytes())
    return files.write_all(directory, contents, remove=[files.PREVIOUS_KEY])


def revoke(directory: Path, what: str) -> tuple[Path, int]:
    """Revoke a certificate, given as a file or as a serial number; return the lists and the number.

    Raises:
        CertificatesError: there is no such file, its certificate is not of the authorities in the directory,
            or their keys or the present lists cannot be used.
        OSError: the lists cannot be written; they are unchanged.
    """
    signers = _signers(directory)
    certificate = _certificate(directory, what)
    if certificate is None:
        serial = int(what.replace(":", ""), 16)
    else:
        serial = certificate.serial_number
        signers = [each for each in signers if inspection.is_issuer(each.certificate, certificate)]
        if not signers:
            raise CertificatesError(
                f"{what} was not issued by an authority whose key is in {directory}; "
                "revoke it where its authority is, and install that list as crl.pem"
            )

    def change(present: bytes) -> bytes:
        try:
            for signer in signers:
                present = revocation.revoke(signer, present, serial)
        except ValueError as error:
            raise CertificatesError(f"{directory}/crl.pem is unusable ({error}); restore it") from error
        return present

    return files.write_revocations(directory, change), serial


def _signers(directory: Path) -> list[authority.Pair]:
    """Return the authorities whose keys are in the directory."""
    signers = [authority.load_pair(*files.read_pair(directory, files.AUTHORITY))]
    previous = directory / files.PREVIOUS_KEY
    if previous.exists():
        for each in inspection.load_authorities(directory)[1:]:
            pem = each.public_bytes(authority.PEM)
            signers.append(authority.load_pair(pem, previous.read_bytes()))
    return signers


def _certificate(directory: Path, what: str) -> x509.Certificate | None:
    """Return the certificate in a file, also one in the directory, or None for a serial number."""
    for path in (Path(what), directory / what):
        if path.is_file():
            certificate = inspection.load_certificate(path)
            if inspection.role(certificate) == "CA":
                raise CertificatesError(f"{path} is an authority; replace it with: jobworkerd certs rollover")
            return certificate
    if _SERIAL.fullmatch(what) and what.strip("0xX:"):
        return None
    raise CertificatesError(
        f"{what!r} is neither a file here or in {directory}, nor a serial number; "
        "use a certificate file or the hexadecimal number from `jobworkerd certs show`"
    )


def _not_renewed(directory: Path, issuer: x509.Certificate) -> list[str]:
    return [
        f"{name}.pem"
        for name in files.names(directory)
        if name != files.AUTHORITY
        and not inspection.is_issuer(
            issuer, inspection.load_certificate(files.certificate_file(directory, name))
        )
    ]
