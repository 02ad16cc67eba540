"""Replaces the authority without a time in which clients or the server are refused.

During a rollover, `ca.pem` has the new authority first and the previous one second, so that both are trusted.
`ca-key.pem` is the key of the new one. The key of the previous one signs revocations of its certificates.
"""

from pathlib import Path

from cryptography import x509

from jobworkerd.certs import authority, files, hosts, inspection, revocation_list
from jobworkerd.certs.errors import CertificatesError


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
        CertificatesError: no rollover is in progress, the authority or the revocation lists cannot be used,
            or certificates in the directory are still of the previous authority.
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
        try:
            contents[lists.name] = revocation_list.keep(new, lists.read_bytes())
        except ValueError as error:
            raise files.unusable_revocations(lists, error) from error
    return files.write_all(directory, contents, remove=[files.PREVIOUS_KEY])


def _not_renewed(directory: Path, issuer: x509.Certificate) -> list[str]:
    return [
        f"{name}.pem"
        for name in files.names(directory)
        if name != files.AUTHORITY
        and not inspection.is_issuer(
            issuer, inspection.load_certificate(files.certificate_file(directory, name))
        )
    ]
