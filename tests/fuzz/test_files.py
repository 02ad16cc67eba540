"""Damaged logs, certificates and configurations: each is refused with its documented error, or read."""

import base64
import contextlib
import tempfile
from functools import partial
from pathlib import Path
from unittest.mock import AsyncMock

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from damaged_pem import with_unknown_version
from hypothesis import example, given
from hypothesis import strategies as st

from jobworkerd import pem_parser, server_certificate
from jobworkerd.certs import revocation_list
from jobworkerd.certs.authority import load_pair
from jobworkerd.certs.errors import CertificatesError
from jobworkerd.certs.inspection import describe_all
from jobworkerd.commands.config import toml_value
from jobworkerd.config import Config, from_json, to_json
from jobworkerd.errors import Unauthenticated
from jobworkerd.logs.cursor import open_cursor
from jobworkerd.logs.files import open_files
from jobworkerd.logs.format import data_file, index_file
from jobworkerd.logs.seek import last_bytes, last_lines, since
from jobworkerd.logs.writer import LogWriter
from jobworkerd.model import OutputSource
from jobworkerd.pem_parser import DamagedPem
from jobworkerd.revocations import Revocations
from jobworkerd.rpc_server.identity.principal import Identities, parse_certificate
from jobworkerd.rpc_server.identity.session_token import SessionTokens
from jobworkerd.rpc_server.rpc import Credential
from jobworkerd.server_pair import ServerPair
from jobworkerd.settings.keys import all_keys
from jobworkerd.settings.resolve import SettingsError, resolve_settings
from tests.fuzz.campaign import campaign
from tests.fuzz.mutations import JSON, mutated, values_of

MAX_READ = 1 << 16


def _log() -> tuple[bytes, bytes]:
    """Return the index and the data of a log."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        writer = LogWriter.create(directory)
        for number in range(20):
            source = OutputSource.STDERR if number % 3 else OutputSource.STDOUT
            writer.append(source, memoryview(b"line %d\n" % number), number + 1)
        writer.close()
        return index_file(directory).read_bytes(), data_file(directory).read_bytes()


INDEX, DATA = _log()


@campaign
@given(
    index=st.binary(max_size=200) | mutated(INDEX),
    data=st.just(DATA) | mutated(DATA),
    wanted=st.integers(0, 300),
)
def test_damaged_logs(index: bytes, data: bytes, wanted: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        index_file(directory).write_bytes(index)
        data_file(directory).write_bytes(data)
        _read(directory, len(DATA), wanted)
        writer = LogWriter.resume(directory)
        size = writer.size
        writer.append(OutputSource.STDOUT, memoryview(b"more"), 99)
        writer.close()
        assert _read(directory, size + 4, min(wanted, size)) == size + 4


def _read(directory: Path, size: int, start: int) -> int:
    """Read a log to its end in all ways, and return the offset after the last byte."""
    with open_files(directory) as files:
        since(files, 7, size)
        last_bytes(files, 10, size)
        last_lines(files, 3, size)
    with open_cursor(directory, start) as cursor:
        for _ in range(1_000):
            if cursor.offset >= size:
                break
            cursor.read(size, MAX_READ)
        return cursor.offset


def _as_pem(der: bytes, label: bytes = b"CERTIFICATE") -> bytes:
    return b"-----BEGIN %s-----\n%s-----END %s-----\n" % (label, base64.encodebytes(der), label)


AUTHORITY = trustme.CA()
LEAF = AUTHORITY.issue_cert("a@example.com", common_name="ann", organization_unit_name="Admin")
PEM = LEAF.cert_chain_pems[0].bytes()
DER = x509.load_pem_x509_certificate(PEM).public_bytes(Encoding.DER)
DAMAGED = mutated(PEM) | mutated(DER).map(_as_pem) | st.binary(max_size=100)


@campaign
@example(pem=PEM, chain=with_unknown_version(PEM), authorities=with_unknown_version(PEM))
@given(pem=DAMAGED, chain=st.just(b"") | DAMAGED, authorities=st.just(AUTHORITY.cert_pem.bytes()) | DAMAGED)
def test_damaged_certificates(pem: bytes, chain: bytes, authorities: bytes) -> None:
    identities = Identities(SessionTokens(AsyncMock()))
    try:
        identities.trust(authorities)
    except ValueError:
        identities.trust(AUTHORITY.cert_pem.bytes())
    with contextlib.suppress(Unauthenticated):
        parse_certificate(pem)
    with contextlib.suppress(Unauthenticated):
        identities.check(Credential(pem, chain))
    try:
        certificate = pem_parser.certificate(pem)
    except DamagedPem:
        return
    assert isinstance(server_certificate.problem(certificate), str)
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "ca.pem").write_bytes(authorities)
        (Path(name) / "dev.pem").write_bytes(pem)
        with contextlib.suppress(CertificatesError):
            describe_all(Path(name))


ISSUER = load_pair(AUTHORITY.cert_pem.bytes(), AUTHORITY.private_key_pem.bytes())
LISTS = revocation_list.add(ISSUER, b"", 1)
LIST_DER = x509.load_pem_x509_crl(LISTS).public_bytes(Encoding.DER)
KEY = LEAF.private_key_pem.bytes()


@campaign
@example(lists=with_unknown_version(LISTS), key=KEY)
@given(lists=mutated(LISTS) | mutated(LIST_DER).map(partial(_as_pem, label=b"X509 CRL")), key=mutated(KEY))
def test_damaged_lists_and_keys(lists: bytes, key: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert ISSUER.certificate not in Revocations(lists, [ISSUER.certificate])
    with contextlib.suppress(ValueError):
        revocation_list.add(ISSUER, lists, 2)
    with contextlib.suppress(CertificatesError):
        load_pair(PEM, key)
    assert isinstance(ServerPair(PEM, key).problem(), str)


KEYS = all_keys()
SETTINGS = st.lists(
    st.sampled_from(KEYS).flatmap(lambda key: st.tuples(st.just(key), values_of(key.annotation) | JSON)),
    max_size=8,
)


@campaign
@given(
    values=SETTINGS,
    extra=st.binary(max_size=40),
    environ=st.lists(st.tuples(st.sampled_from(KEYS), st.text())),
)
def test_any_configuration(
    values: list[tuple[object, object]], extra: bytes, environ: list[tuple[object, str]]
) -> None:
    lines = [f"{key.name} = {_toml(value)}" for key, value in values]  # type: ignore[attr-defined]
    variables = {key.variable: text for key, text in environ}  # type: ignore[attr-defined]
    with tempfile.NamedTemporaryFile() as file:
        file.write("\n".join(lines).encode("utf-8", "surrogatepass") + b"\n" + extra)
        file.flush()
        try:
            config = resolve_settings(Path(file.name), variables, {}).config
        except SettingsError:
            return
    assert from_json(to_json(config)) == config
    assert isinstance(config, Config)


def _toml(value: object) -> str:
    try:
        return toml_value(value)  # type: ignore[arg-type]
    except TypeError:
        return "[]"
