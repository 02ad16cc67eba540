"""Revocation of certificates, and the rollover of the authority."""

import asyncio
import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import Issued, issue
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jobworker.v1 import job_service_pb2
from live import Server, eventually, make_certificates
from live_client import Client, client, refused

BIN = Path(sys.executable).parent
REQUEST = job_service_pb2.GetJobsStreamRequest

API_PROCESSES = 2
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
    """A server with these certificates and several API processes."""
    with Server.started(BIN, own_certs, tmp_path / "state", "--api-processes", str(API_PROCESSES)) as server:
        yield server


async def test_a_revocation_ends_streams_and_refuses_calls(running: Server, own_certs: Path) -> None:
    async with client(running, "dev") as dev, client(running, "admin") as admin:
        job = await admin.create("sh", "-c", "while sleep 0.1; do echo x; done")
        streams = [each.stub.GetJobsStream(REQUEST(id=job.id), timeout=60) for each in (dev, admin)]
        for stream in streams:
            await stream.read()
        watch = health_pb2_grpc.HealthStub(dev.channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        await watch.read()
        wait = dev.stub.WaitJob(job_service_pb2.WaitJobRequest(id=job.id), timeout=60)
        reading = asyncio.create_task(_read_to_the_end(streams[0]))
        await streams[1].read()
        assert not reading.done()
        _certs(own_certs, "revoke", "dev.pem")
        async with refused(DENIED) as refusal:
            await reading
        assert refusal.reason == "CERTIFICATE_REVOKED"
        for call in (watch, wait):
            assert await call.code() is DENIED
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


async def test_an_expiry_ends_streams_and_refuses_calls(running: Server, own_certs: Path) -> None:
    authority = Issued((own_certs / "ca.pem").read_bytes(), (own_certs / "ca-key.pem").read_bytes())
    short = issue(authority, end=timedelta(seconds=8))
    (own_certs / "short.pem").write_bytes(short.certificate)
    (own_certs / "short-key.pem").write_bytes(short.key)
    async with client(running, "short") as expiring, client(running, "admin") as admin:
        job = await admin.create("sh", "-c", "while sleep 0.1; do echo x; done")
        streams = [each.stub.GetJobsStream(REQUEST(id=job.id), timeout=60) for each in (expiring, admin)]
        for stream in streams:
            await stream.read()
        async with refused(UNAUTHENTICATED) as refusal:
            await _read_to_the_end(streams[0])
        assert "the client certificate or its authority expired at" in refusal.message
        async with refused(UNAUTHENTICATED):
            await expiring.get(job.id)
        await streams[1].read()
        await admin.stop(job.id)


async def test_a_list_of_openssl_revokes(running: Server, own_certs: Path, tmp_path: Path) -> None:
    async with client(running, "dev") as dev:
        job = await dev.create("true")
        _openssl_crl(own_certs, tmp_path / "ca", own_certs / "dev.pem")
        async with _renewal(running):
            (tmp_path / "ca" / "crl.pem").rename(own_certs / "crl.pem")
        async with refused(DENIED) as refusal:
            await dev.get(job.id)
        assert refusal.reason == "CERTIFICATE_REVOKED"
    # jobworkerd adds to this list.
    async with _renewal(running):
        _certs(own_certs, "revoke", _serial(own_certs / "viewer.pem"))
    for name in ("viewer", "dev"):
        async with client(running, name) as each, refused(DENIED):
            await each.get(job.id)


async def test_a_reload_with_a_damaged_list_leaves_the_server_running(
    running: Server, own_certs: Path
) -> None:
    assert running.process
    async with _renewal(running):
        _certs(own_certs, "revoke", "dev.pem")
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
        async with _renewal(running):
            _certs(own_certs, "rollover")
        await _works(running, old)
        # The clients get the new ca.pem, and keep their certificates.
        shutil.copy(own_certs / "ca.pem", old / "ca.pem")
        await _works(running, old)
        async with _renewal(running):
            _certs(own_certs, "renew", "--all")
        await _works(running, old)
        await _works(running, own_certs)
        # Certificates of both authorities can be revoked.
        async with _renewal(running):
            _certs(own_certs, "revoke", old / "viewer.pem")
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


def _connected(server: Server, certs: Path, name: str) -> AbstractAsyncContextManager[Client]:
    return client(Server(server.address, certs), name)


@contextlib.asynccontextmanager
async def _renewal(server: Server) -> AsyncIterator[None]:
    """Wait until each API process uses the files that the block replaces.

    All earlier changes must be in use, because a process logs the same event for each of them.
    """
    before = _renewals(server)
    yield
    await eventually(lambda: _renewals(server) == before + API_PROCESSES)


def _renewals(server: Server) -> int:
    return sum(event["event"] == "certificates renewed" for event in server.events())


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
