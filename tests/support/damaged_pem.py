"""Certificates and revocation lists that the parser refuses with undocumented exceptions."""

import base64
import re

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\n(.*?)-----END \1-----", re.DOTALL)
_VERSIONS = {
    b"CERTIFICATE": (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05"),
    # An algorithm, which is a sequence, follows the version of a list.
    b"X509 CRL": (b"\x02\x01\x01\x30", b"\x02\x01\x05\x30"),
}
_BASIC_CONSTRAINTS, _SUBJECT_ALTERNATIVE_NAME = b"\x06\x03\x55\x1d\x13", b"\x06\x03\x55\x1d\x11"
_TEXT, _NO_TYPE = b"\x0c\x05admin", b"\x00\x05admin"


def with_unknown_version(pem: bytes) -> bytes:
    """Return the first certificate or list with a version that does not exist (`x509.InvalidVersion`)."""
    label, der = _parts(pem)
    return _block(label, der.replace(*_VERSIONS[label], 1))


def with_untyped_name(pem: bytes) -> bytes:
    """Return the first certificate, whose name `admin` has no type. It is parsed when it is read."""
    label, der = _parts(pem)
    return _block(label, der.replace(_TEXT, _NO_TYPE))


def with_two_names_of_hosts(pem: bytes) -> bytes:
    """Return the first certificate with its basic constraints as a second list of hosts.

    The parser finds this `x509.DuplicateExtension` when the extensions are read.
    """
    label, der = _parts(pem)
    return _block(label, der.replace(_BASIC_CONSTRAINTS, _SUBJECT_ALTERNATIVE_NAME))


def _parts(pem: bytes) -> tuple[bytes, bytes]:
    """Return the label and the contents of the first block."""
    found = _BLOCK.search(pem)
    assert found
    return found[1], base64.b64decode(found[2])


def _block(label: bytes, der: bytes) -> bytes:
    return b"-----BEGIN %s-----\n%s-----END %s-----\n" % (label, base64.encodebytes(der), label)
