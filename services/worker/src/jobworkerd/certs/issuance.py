"""Creates certificates in a directory: a first set, further ones and renewed ones."""

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from jobworkerd.certs import authority, files, hosts, inspection, revocation_list
from jobworkerd.certs.errors import CertificatesError
from jobworkerd.certs.roles import Role

_FIRST_SET = {files.SERVER: Role.SERVER, "admin": Role.ADMIN, "viewer": Role.VIEWER}


def make_first_set(directory: Path, server_hosts: Sequence[str], *, replace: bool) -> list[Path]:
    """Create an authority and certificates for a server, an admin and a viewer; return the files.

    `server_hosts` are the hosts in the server certificate; if empty, the names of this host.

    Raises:
        CertificatesError: a file exists and `replace` is false, or a host is not accepted.
        OSError: a file cannot be written; all files are unchanged.
    """
    # All checks come before the key of the authority, which takes seconds.
    files.check_writable(directory, [files.AUTHORITY, *_FIRST_SET], replace=replace)
    for host in server_hosts:
        hosts.check_host(host)
    issuer = authority.make_authority(hosts.own_name())
    pairs = {files.AUTHORITY: issuer}
    for name, role in _FIRST_SET.items():
        pairs[name] = _issue(issuer, name, role, server_hosts or hosts.own_hosts())
    written = _write(directory, pairs, replace=replace)
    lists = files.revocations_file(directory)
    if lists.exists():
        # The authority of these lists is not trusted any more, so that the server would refuse them.
        written += files.write_all(directory, {lists.name: revocation_list.keep(issuer, b"")})
    files.write_all(directory, {}, remove=[files.PREVIOUS_KEY])
    return written


def issue_one(
    directory: Path, name: str, role: Role, server_hosts: Sequence[str], *, replace: bool
) -> list[Path]:
    """Create a certificate with the authority in the directory; return the files.

    `server_hosts` are the hosts of a server. If empty, they are those of the replaced certificate, if any,
    or the names of this host.

    Raises:
        CertificatesError: the name or a host is not accepted, the authority cannot be used, or a file exists
            and `replace` is false.
        OSError: a file cannot be written; all files are unchanged.
    """
    files.check_name(name)
    issuer = authority.load_pair(*files.read_pair(directory, files.AUTHORITY))
    files.check_writable(directory, [name], replace=replace)
    wanted = server_hosts or _previous_hosts(directory, name) or hosts.own_hosts()
    return _write(directory, {name: _issue(issuer, name, role, wanted)}, replace=replace)


def renew(directory: Path, names: Sequence[str]) -> list[Path]:
    """Renew certificates, all or none of them, with the authority in the directory; return the files.

    Subject, purposes and hosts stay the same. Each certificate gets a new key, so that a copy of the old key
    is of no use after the old certificate has expired.

    Raises:
        CertificatesError: a name is not accepted, a certificate is missing or is that of an authority, or the
            authority cannot be used.
        OSError: a file cannot be written; all files are unchanged.
    """
    for name in names:
        files.check_name(name)
    issuer = authority.load_pair(*files.read_pair(directory, files.AUTHORITY))
    pairs = {name: authority.renew(issuer, _renewable(directory, name)) for name in names}
    return _write(directory, pairs, replace=True)


def renew_all(directory: Path) -> list[Path]:
    """Renew all certificates in a directory except the authority; return the files.

    Raises:
        CertificatesError: the directory has none, or as for `renew`.
        OSError: a file cannot be written; all files are unchanged.
    """
    names = [name for name in files.names(directory) if name != files.AUTHORITY]
    if not names:
        raise CertificatesError(
            f"{directory} has no certificates to renew; create them with: jobworkerd certs init"
        )
    return renew(directory, names)


def _renewable(directory: Path, name: str) -> x509.Certificate:
    path = files.certificate_file(directory, name)
    try:
        certificate = inspection.load_certificate(path)
    except FileNotFoundError:
        raise CertificatesError(
            f"{path} is missing; create it with: jobworkerd certs issue {name} --role ROLE"
        ) from None
    if inspection.role(certificate) == "CA":
        raise CertificatesError(f"{path} is the certificate of an authority; move it to another directory")
    return certificate


def _issue(issuer: authority.Pair, name: str, role: Role, server_hosts: Sequence[str]) -> authority.Pair:
    return authority.issue(issuer, name=name, role=role, hosts=server_hosts if role is Role.SERVER else ())


def _previous_hosts(directory: Path, name: str) -> tuple[str, ...]:
    try:
        certificate = inspection.load_certificate(files.certificate_file(directory, name))
    except (FileNotFoundError, CertificatesError):
        return ()
    return inspection.hosts(certificate)


def _write(directory: Path, pairs: dict[str, authority.Pair], *, replace: bool) -> list[Path]:
    blocks = {name: (pair.certificate_pem, pair.key_pem) for name, pair in pairs.items()}
    return files.write_pairs(directory, blocks, replace=replace)
