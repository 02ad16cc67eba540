"""Certificate and key files that cannot be used: a typed error that names the file, before gRPC sees it."""

from pathlib import Path

import pytest

from broken_files import CERTIFICATES, KEYS, OTHERS, Write
from jobworker_client import CertificateUnusable, Client, SyncClient, Target

BROKEN = [
    *[("ca", "ca.pem", write, words) for write, words in CERTIFICATES.values()],
    *[("cert", "admin.pem", write, words) for write, words in CERTIFICATES.values()],
    *[("key", "admin-key.pem", write, words) for write, words in KEYS.values()],
]
IDS = [
    *[f"ca-{name}" for name in CERTIFICATES],
    *[f"cert-{name}" for name in CERTIFICATES],
    *[f"key-{name}" for name in KEYS],
]


def target(certs: Path, **other: Path) -> Target:
    return Target.from_folder(certs, server="localhost:1", **other)  # type: ignore[arg-type]  # three files


async def assert_refused(certs: Path, option: str, file: Path, words: str) -> None:
    for kind in (Client, SyncClient):
        with pytest.raises(CertificateUnusable, match=words) as raised:
            kind(target(certs, **{option: file}))
        assert str(raised.value).startswith(f"{file}: ")


@pytest.mark.parametrize(("option", "name", "write", "words"), BROKEN, ids=IDS)
async def test_a_broken_file_is_an_error_that_says_what_it_is(
    certs: Path, tmp_path: Path, option: str, name: str, write: Write, words: str
) -> None:
    file = tmp_path / name
    write((certs / name).read_bytes(), file)
    await assert_refused(certs, option, file, f"(?i){words}")


@pytest.mark.parametrize(("option", "name", "words"), OTHERS)
async def test_a_file_in_the_wrong_place_is_an_error(certs: Path, option: str, name: str, words: str) -> None:
    await assert_refused(certs, option, certs / name, words)


async def test_files_with_windows_line_ends_and_text_around_the_blocks_are_good(
    certs: Path, tmp_path: Path
) -> None:
    for name in ("ca.pem", "admin.pem", "admin-key.pem"):
        data = (certs / name).read_bytes().replace(b"\n", b"\r\n")
        (tmp_path / name).write_bytes(b"# of the lab\r\n" + data)
    async with Client(target(tmp_path)):
        pass


async def test_a_certificate_and_its_key_may_be_in_one_file(certs: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes((certs / "admin-key.pem").read_bytes() + (certs / "admin.pem").read_bytes())
    with SyncClient(target(certs, cert=both, key=both)):
        pass
