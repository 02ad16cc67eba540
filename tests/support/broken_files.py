"""Unusable certificate and key files, and the words in the error messages of all clients."""

import subprocess
from collections.abc import Callable
from pathlib import Path

Write = Callable[[bytes, Path], None]


def _openssl(*args: str) -> Write:
    def write(data: bytes, file: Path) -> None:
        file.write_bytes(
            subprocess.run(["openssl", *args], input=data, capture_output=True, check=True).stdout
        )

    return write


def _changed(change: Callable[[bytes], bytes]) -> Write:
    def write(data: bytes, file: Path) -> None:
        file.write_bytes(change(data))

    return write


def _directory(_: bytes, file: Path) -> None:
    file.mkdir()


def _loop(_: bytes, file: Path) -> None:
    # Not even root can open a symbolic link to itself.
    file.symlink_to(file)


def _missing(_: bytes, file: Path) -> None:
    assert not file.exists()


def _damaged(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join([*lines[:2], b"!" + lines[2][1:], *lines[3:]])


DAMAGED: dict[str, tuple[Write, str]] = {
    "empty": (_changed(lambda _: b""), "the file is empty"),
    "blank": (_changed(lambda _: b"\n \n"), "the file is empty"),
    "with a BOM": (_changed(lambda data: b"\xef\xbb\xbf" + data), "byte order mark"),
    "UTF-16": (_changed(lambda data: data.decode().encode("utf-16")), "byte order mark"),
    "text": (_changed(lambda _: b"this is text\n"), "not PEM"),
    "damaged": (_changed(_damaged), "is damaged"),
    "cut": (_changed(lambda data: data[: len(data) // 2]), "is damaged"),
    "a directory": (_directory, "directory"),
    "unreadable": (_loop, "symbolic link"),
    "missing": (_missing, "no such file"),
}

CERTIFICATES = {**DAMAGED, "DER": (_openssl("x509", "-outform", "DER"), "is DER, not PEM")}

KEYS = {
    **DAMAGED,
    "DER": (_openssl("pkey", "-outform", "DER"), "is DER, not PEM"),
    "encrypted": (
        _openssl("pkcs8", "-topk8", "-v2", "aes256", "-passout", "pass:secret"),
        "the key is encrypted",
    ),
    "encrypted in the traditional format": (
        _openssl("ec", "-aes256", "-passout", "pass:secret"),
        "the key is encrypted",
    ),
}

WRONG_KIND = (
    ("ca", "admin-key.pem", "not a certificate"),
    ("cert", "admin-key.pem", "not a certificate"),
    ("key", "admin.pem", "not a private key"),
    ("key", "viewer-key.pem", "the key does not belong to the certificate"),
)
"""Valid files of another kind, or of another certificate."""
