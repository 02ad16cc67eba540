"""Find faults in the bytes of PEM files, with messages that tell the user how to fix them.

gRPC aborts the process for an empty file, uses the CAs of the system instead of an empty CA file, and
reports any other fault as a failed connection.
"""

import re
from collections.abc import Iterator

__all__ = ["certificate_fault", "key_fault"]

BLOCK = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----", re.MULTILINE)
BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
DER = b"\x30"
KEY = "PRIVATE KEY"
# Labels of PKCS #8 and headers of the traditional format (RFC 7468, section 11; RFC 1421, 4.6.1.1).
ENCRYPTED = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")


def certificate_fault(data: bytes) -> str | None:
    """Return why the bytes are not a PEM certificate; None if they look like one."""
    if (fault := _format_fault(data, "x509")) is not None:
        return fault
    labels = list(_labels(data))
    return None if "CERTIFICATE" in labels else f"the file holds {_join(labels)}, not a certificate"


def key_fault(data: bytes) -> str | None:
    """Return why the bytes are not an unencrypted PEM private key; None if they look like one."""
    if (fault := _format_fault(data, "pkey")) is not None:
        return fault
    labels = list(_labels(data))
    if any(mark in data for mark in ENCRYPTED):
        return "the key is encrypted; decrypt it with: openssl pkey -in FILE -out NEW"
    if "OPENSSH PRIVATE KEY" in labels:
        return "the file holds an OpenSSH key; convert a copy with: ssh-keygen -p -m PEM -f COPY"
    if not any(label.endswith(KEY) for label in labels):
        return f"the file holds {_join(labels)}, not a private key"
    return None


def _format_fault(data: bytes, command: str) -> str | None:
    if not data.strip():
        return "the file is empty"
    if data.startswith(BYTE_ORDER_MARKS):
        return "the file begins with a byte order mark; save it as ASCII, or as UTF-8 without BOM"
    if BLOCK.search(data):
        return None
    if data.startswith(DER):
        return f"the file is DER, not PEM; convert it with: openssl {command} -inform DER -in FILE -out NEW"
    return "the file is not PEM: no line begins with -----BEGIN"


def _labels(data: bytes) -> Iterator[str]:
    return (match[1].decode("ascii") for match in BLOCK.finditer(data))


def _join(labels: list[str]) -> str:
    return ", ".join(dict.fromkeys(labels))
