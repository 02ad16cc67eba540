"""Tests of the typed errors for unusable certificate and key files."""

from pathlib import Path

import pytest

from broken_files import CERTIFICATES, KEYS, WRONG_KIND, Write
from jobworker_client import Client, ClientConfig, InvalidCertificateFile, SyncClient

BROKEN = [
    *[("ca", "ca.pem", write, message) for write, message in CERTIFICATES.values()],
    *[("cert", "admin.pem", write, message) for write, message in CERTIFICATES.values()],
    *[("key", "admin-key.pem", write, message) for write, message in KEYS.values()],
]
IDS = [
    *[f"ca-{name}" for name in CERTIFICATES],
    *[f"cert-{name}" for name in CERTIFICATES],
    *[f"key-{name}" for name in KEYS],
]


def config(certs: Path, **other: Path) -> ClientConfig:
    return ClientConfig.from_directory(certs, server="localhost:1", **other)  # type: ignore[arg-type]  # the options are paths


async def assert_refused(certs: Path, option: str, file: Path, message: str) -> None:
    for kind in (Client, SyncClient):
        with pytest.raises(InvalidCertificateFile, match=message) as raised:
            kind(config(certs, **{option: file}))
        assert str(raised.value).startswith(f"{file}: ")


@pytest.mark.parametrize(("option", "name", "write", "message"), BROKEN, ids=IDS)
async def test_error_names_the_fault_of_a_file(
    certs: Path, tmp_path: Path, option: str, name: str, write: Write, message: str
) -> None:
    file = tmp_path / name
    write((certs / name).read_bytes(), file)
    await assert_refused(certs, option, file, f"(?i){message}")


@pytest.mark.parametrize(("option", "name", "message"), WRONG_KIND)
async def test_file_of_another_kind_is_refused(certs: Path, option: str, name: str, message: str) -> None:
    await assert_refused(certs, option, certs / name, message)


async def test_files_may_have_crlf_and_text_around_the_blocks(certs: Path, tmp_path: Path) -> None:
    for name in ("ca.pem", "admin.pem", "admin-key.pem"):
        data = (certs / name).read_bytes().replace(b"\n", b"\r\n")
        (tmp_path / name).write_bytes(b"# of the lab\r\n" + data)
    async with Client(config(tmp_path)):
        pass


async def test_certificate_and_key_may_share_a_file(certs: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes((certs / "admin-key.pem").read_bytes() + (certs / "admin.pem").read_bytes())
    with SyncClient(config(certs, cert=both, key=both)):
        pass
