"""Revocation, the rollover of the authority, and server certificates that the server refuses at its start."""

import asyncio
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jobworker.v1 import job_service_pb2
from live import Server, make_certificates
from live_client import Client, client, refused

BIN = Path(sys.executable).parent
REQUEST = job_service_pb2.GetJobsStreamRequest

DENIED = grpc.StatusCode.PERMISSION_DENIED
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates, with `dev` for a further admin. An RSA 4096 key takes seconds."""
    directory = make_certificates(BIN, tmp_path_factory.mktemp("made") / "certs")
    _certs(directory, "issue", "dev", "--role", "admin")
    return directory


@pytest.fixture
def own_certs(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "certs"))


@pytest.fixture
def running(own_certs: Path, tmp_path: Path) -> Iterator[Server]:
    """A server with these certificates and two API processes."""
    with Server.started(BIN, own_certs, tmp_path / "state", "--api-processes", "2") as server:
        yield server


async def test_a_revocation_takes_effect_within_a_second(running: Server, own_certs: Path) -> None:
    async with client(running, "dev") as dev, client(running, "admin") as admin:
        job = await admin.create("sh", "-c", "while sleep 0.1; do echo x; done")
        streams = [each.stub.GetJobsStream(REQUEST(id=job.id), timeout=60) for each in (dev, admin)]
        for stream in streams:
            await stream.read()
        watch = health_pb2_grpc.HealthStub(dev.channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        await watch.read()
        wait = dev.stub.WaitJob(job_service_pb2.WaitJobRequest(id=job.id), timeout=60)
        reading = asyncio.create_task(_read_to_the_end(streams[0]))
        await asyncio.sleep(0.5)
        assert not reading.done()
        _certs(own_certs, "revoke", "dev.pem")
        revoked = time.monotonic()
        async with refused(DENIED) as refusal:
            await reading
        # A second, and the time that this host takes to schedule all processes.
        assert time.monotonic() - revoked < 2
        assert refusal.reason == "CERTIFICATE_REVOKED"
        assert await asyncio.wait_for(watch.code(), 2) is DENIED
        assert await asyncio.wait_for(wait.code(), 2) is DENIED
        async with refused(DENIED) as refusal:
            await dev.get(job.id)
        assert refusal.reason == "CERTIFICATE_REVOKED"
        await streams[1].read()
        await admin.stop(job.id)
    async with client(running, "dev") as again, refused(DENIED):
        await again.get(job.id)
    _certs(own_certs, "renew", "dev")
    async with client(running, "dev") as renewed:
        await renewed.get(job.id)


async def test_a_list_of_openssl_revokes(running: Server, own_certs: Path, tmp_path: Path) -> None:
    async with client(running, "dev") as dev:
        job = await dev.create("true")
        _openssl_crl(own_certs, tmp_path / "ca", own_certs / "dev.pem")
        shutil.copy(tmp_path / "ca" / "crl.pem", own_certs / "crl.pem")
        await asyncio.sleep(2)
        async with refused(DENIED) as refusal:
            await dev.get(job.id)
        assert refusal.reason == "CERTIFICATE_REVOKED"
    # jobworkerd adds to this list.
    _certs(own_certs, "revoke", _serial(own_certs / "viewer.pem"))
    await asyncio.sleep(2)
    for name in ("viewer", "dev"):
        async with client(running, name) as each, refused(DENIED):
            await each.get(job.id)


async def test_a_reload_with_a_damaged_list_leaves_the_server_running(
    running: Server, own_certs: Path
) -> None:
    assert running.process
    _certs(own_certs, "revoke", "dev.pem")
    await asyncio.sleep(2)
    (own_certs / "crl.pem").write_text("nonsense")
    running.process.send_signal(signal.SIGHUP)
    await asyncio.to_thread(running.wait_for_event, "reload failed")
    async with client(running, "admin") as admin:
        await admin.create("true")
    async with client(running, "dev") as dev, refused(DENIED):
        await dev.create("true")


async def test_a_rollover_interrupts_no_client(running: Server, own_certs: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(own_certs, tmp_path / "old"))
    async with _connected(running, old, "dev") as open_before:
        job = await open_before.create("sleep", "600")
        stream = open_before.stub.GetJobsStream(REQUEST(id=job.id), timeout=120)
        _certs(own_certs, "rollover")
        await _works(running, old)
        # The clients get the new ca.pem, and keep their certificates.
        shutil.copy(own_certs / "ca.pem", old / "ca.pem")
        await _works(running, old)
        _certs(own_certs, "renew", "--all")
        await _works(running, old)
        await _works(running, own_certs)
        # Certificates of both authorities can be revoked.
        _certs(own_certs, "revoke", old / "viewer.pem")
        await asyncio.sleep(2)
        async with _connected(running, old, "viewer") as viewer, refused(DENIED):
            await viewer.get(job.id)
        async with _connected(running, own_certs, "viewer") as viewer:
            await viewer.get(job.id)
        await open_before.get(job.id)
        _certs(own_certs, "retire")
        async with refused(UNAUTHENTICATED):
            await _read_to_the_end(stream)
        async with refused(UNAUTHENTICATED):
            await open_before.get(job.id)
    await _works(running, own_certs)
    async with _connected(running, old, "dev") as dev, refused(grpc.StatusCode.UNAVAILABLE):
        await dev.get(job.id)
    async with _connected(running, own_certs, "admin") as admin:
        await admin.stop(job.id)
    assert not (own_certs / "ca-previous-key.pem").exists()


def test_an_authority_in_use_is_not_retired(own_certs: Path) -> None:
    assert "has only one authority" in _certs_failure(own_certs, "retire")
    _certs(own_certs, "rollover")
    assert "finish the rollover with: jobworkerd certs retire" in _certs_failure(own_certs, "rollover")
    _certs(own_certs, "renew", "server")
    assert "admin.pem, dev.pem, viewer.pem: issued by the previous" in _certs_failure(own_certs, "retire")
    _certs(own_certs, "retire", "--force")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["ed25519"], "has a key of type Ed25519"),
        (["ed448"], "has a key of type Ed448"),
        (["rsa-pss"], "has a key of type RSA-PSS"),
        (["ec", "-pkeyopt", "ec_paramgen_curve:P-521"], "has a key of type ECDSA on secp521r1"),
        (["ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"], "has a key of type ECDSA on secp256k1"),
    ],
    ids=["ed25519", "ed448", "rsa-pss", "p521", "secp256k1"],
)
def test_a_key_that_clients_refuse(own_certs: Path, arguments: list[str], sentence: str) -> None:
    key, certificate = own_certs / "server-key.pem", own_certs / "server.pem"
    files = ("-keyout", key, "-out", certificate)
    _openssl("req", "-x509", "-newkey", *arguments, "-noenc", "-subj", "/CN=localhost", *files)
    reason = _start_failure(own_certs)
    assert f"{certificate} {sentence}" in reason
    assert "use RSA with 2048 to 8192 bits, or ECDSA on P-256 or P-384" in reason


@pytest.mark.parametrize(
    ("start", "end", "sentence"),
    [
        ("20200101000000Z", "20210101000000Z", "expired at 2021-01-01T00:00:00Z; renew it"),
        ("29990101000000Z", "29990201000000Z", "is not valid before 2999-01-01T00:00:00Z; check this host's"),
    ],
    ids=["expired", "early"],
)
def test_a_certificate_that_is_not_valid_now(
    own_certs: Path, tmp_path: Path, start: str, end: str, sentence: str
) -> None:
    config = _openssl_ca(own_certs, tmp_path / "ca")
    request, certificate = tmp_path / "request.pem", own_certs / "server.pem"
    _openssl("req", "-new", "-key", own_certs / "server-key.pem", "-subj", "/CN=localhost", "-out", request)
    dates = ("-startdate", start, "-enddate", end)
    _openssl("ca", "-batch", "-config", config, *dates, "-in", request, "-out", certificate, "-notext")
    assert f"{certificate} {sentence}" in _start_failure(own_certs)


def test_an_encrypted_key(own_certs: Path, tmp_path: Path) -> None:
    key, encrypted = own_certs / "server-key.pem", tmp_path / "encrypted.pem"
    _openssl("pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", encrypted)
    key.write_bytes(encrypted.read_bytes())
    assert "has an encrypted key in server-key.pem" in _start_failure(own_certs)


def test_a_key_of_another_certificate(own_certs: Path) -> None:
    shutil.copy(own_certs / "dev-key.pem", own_certs / "server-key.pem")
    assert "server.pem does not fit the key in server-key.pem" in _start_failure(own_certs)


def test_a_damaged_revocation_list(own_certs: Path) -> None:
    (own_certs / "crl.pem").write_text("nonsense")
    assert "crl.pem is unusable (the file does not end with" in _start_failure(own_certs)


def _connected(server: Server, certs: Path, name: str) -> AbstractAsyncContextManager[Client]:
    return client(Server(server.address, certs), name)


async def _works(server: Server, certs: Path) -> None:
    for name in ("admin", "dev"):
        async with _connected(server, certs, name) as each:
            await each.create("true")


async def _read_to_the_end(stream: Any) -> None:
    while await stream.read():
        pass


def _certs(directory: Path, *arguments: str | Path) -> None:
    done = _run(BIN / "jobworkerd", "certs", *arguments, "--dir", directory)
    assert done.returncode == 0, done.stderr


def _certs_failure(directory: Path, *arguments: str) -> str:
    done = _run(BIN / "jobworkerd", "certs", *arguments, "--dir", directory)
    assert done.returncode == 1
    return done.stderr


def _start_failure(certs: Path) -> str:
    argv: list[str | Path] = [BIN / "jobworkerd", "serve", "--listen", "127.0.0.1:0", "--certs-dir", certs]
    argv += ["--state-dir", certs.parent / "state"]
    argv += ["--cgroup-base", f"/sys/fs/cgroup/jobworker-test-{uuid.uuid4().hex[:12]}"]
    done = _run(*argv)
    assert done.returncode == 1
    return done.stderr


def _run(*argv: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)


def _openssl(*arguments: str | Path) -> str:
    done = _run("openssl", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _serial(certificate: Path) -> str:
    return _openssl("x509", "-in", certificate, "-noout", "-serial").strip().partition("=")[2]


def _openssl_ca(certs: Path, directory: Path) -> Path:
    """Return a configuration of `openssl ca` for the authority."""
    directory.mkdir()
    (directory / "index.txt").touch()
    config = directory / "openssl.cnf"
    config.write_text(
        f"""[ca]
default_ca = ours
[ours]
database = {directory}/index.txt
new_certs_dir = {directory}
certificate = {certs}/ca.pem
private_key = {certs}/ca-key.pem
default_md = sha256
default_days = 30
default_crl_days = 30
rand_serial = yes
policy = any
[any]
commonName = supplied
"""
    )
    return config


def _openssl_crl(certs: Path, directory: Path, revoked: Path) -> None:
    config = _openssl_ca(certs, directory)
    _openssl("ca", "-config", config, "-revoke", revoked)
    _openssl("ca", "-config", config, "-gencrl", "-out", directory / "crl.pem")
