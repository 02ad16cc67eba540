"""Revokes certificates with the keys of the authorities in a directory."""

import re
from pathlib import Path

from cryptography import x509

from jobworkerd.certs import authority, files, inspection, revocation_list
from jobworkerd.certs.errors import CertificatesError

_SERIAL = re.compile(r"(?:0[xX])?[0-9a-fA-F:]+")


def revoke(directory: Path, what: str) -> tuple[Path, int]:
    """Revoke a certificate, given as a file, a name or a serial number; return the lists and the number.

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
                present = revocation_list.add(signer, present, serial)
        except ValueError as error:
            raise files.unusable_revocations(files.revocations_file(directory), error) from error
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
    """Return the certificate of a file or of a name in the directory, or None for a serial number."""
    # A name such as `ada` could be a serial number, too.
    for path in (Path(what), directory / what, files.certificate_file(directory, what)):
        if path.is_file():
            certificate = inspection.load_certificate(path)
            if certificate in inspection.load_authorities(directory):
                raise CertificatesError(
                    f"{path} is an authority in ca.pem; replace it with: jobworkerd certs rollover"
                )
            return certificate
    if _SERIAL.fullmatch(what) and what.strip("0xX:"):
        return None
    raise CertificatesError(
        f"{what!r} is neither a file, nor a name of a certificate in {directory}, nor a serial number; "
        "use one of them; `jobworkerd certs show` prints the hexadecimal numbers"
    )
