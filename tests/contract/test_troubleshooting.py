"""Check that docs/troubleshooting.md quotes the messages that the clients print."""

import datetime as dt
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from examples import compiled
from jobworkerd import errors
from jobworkerd.rpc_server.status import ROWS, reason_name
from live import Server, make_certificates

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/troubleshooting.md"

pytestmark = pytest.mark.timeout(900)
"""Seconds. The first build of the examples compiles a TLS library and gRPC."""

BARE_GRPC = """
import sys, grpc
from pathlib import Path
from jobworker.v1 import job_service_pb2, job_service_pb2_grpc
address, certs = sys.argv[1], Path(sys.argv[2])
ca, key, cert = ((certs / name).read_bytes() for name in ("ca.pem", "admin-key.pem", "admin.pem"))
channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(ca, key, cert))
try:
    job_service_pb2_grpc.JobServiceStub(channel).ListJobs(job_service_pb2.ListJobsRequest(), timeout=30)
except grpc.RpcError as error:
    print(error.code().name, error.details())
"""


@dataclass(frozen=True)
class At:
    """The server address and the certificates of one client."""

    address: str
    certs: Path


Clients = Mapping[str, Callable[[At], list[str]]]
"""Return the command line of each client."""


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Clients:
    """Return the command lines of the clients on the page whose toolchain is installed."""
    go = tmp_path_factory.mktemp("go") / "run"
    build: list[str | Path] = [
        ROOT / "tools/go",
        "-C",
        ROOT / "clients/go",
        "build",
        "-buildvcs=false",
        "-o",
        go,
    ]
    subprocess.run([*build, "./examples/run"], check=True)
    node, typescript = str(ROOT / "tools/node"), str(ROOT / "clients/typescript")
    subprocess.run([node, "npm", "--prefix", typescript, "run", "build"], check=True)
    examples = {name: _of_environment([*argv, "true"]) for name, argv in compiled().items()}
    return {
        "jobworker": _of_environment([str(BIN / "jobworker"), "list"]),
        "Python": lambda at: [sys.executable, "-c", BARE_GRPC, at.address, str(at.certs)],
        "Go": _of_environment([str(go), "true"]),
        "TypeScript": _of_environment([node, "node", f"{typescript}/dist/examples/run.js", "true"]),
        "grpcurl": _grpcurl,
        **examples,
        **({"curl": _curl} if shutil.which("curl") else {}),
    }


def _of_environment(argv: list[str]) -> Callable[[At], list[str]]:
    return lambda at: ["env", f"JOBWORKER_SERVER={at.address}", f"JOBWORKER_CERTS={at.certs}", *argv]


def _grpcurl(at: At) -> list[str]:
    return [str(BIN / "grpcurl"), "-connect-timeout", "3", *_files("-", at.certs), at.address, "list"]


def _curl(at: At) -> list[str]:
    files = _files("--", at.certs)
    return ["curl", "--silent", "--show-error", "--http2", *files, f"https://{at.address}/"]


def _files(dashes: str, certs: Path) -> list[str]:
    names = {"cacert": "ca.pem", "cert": "admin.pem", "key": "admin-key.pem"}
    return [word for flag, name in names.items() for word in (f"{dashes}{flag}", f"{certs}/{name}")]


def said(argv: list[str]) -> str:
    """Return stdout and stderr of a client."""
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False, env=os.environ
    )
    return done.stdout.decode(errors="replace")


def table(heading: str) -> dict[str, str]:
    """Return the messages under a heading of the page, by client."""
    section = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| (\S+) \| `(.*)` \|$", section, re.MULTILINE))


def messages(heading: str) -> list[str]:
    """Return the messages of `jobworker` under a heading of the page."""
    section = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| jobworker \| `(.*)` \|$", section, re.MULTILINE)


def assert_printed(message: str, argv: list[str]) -> None:
    """Compare the output of a command with a message of the page."""
    pattern = ".*".join(map(re.escape, message.split("…")))
    printed = said(argv)
    assert re.search(pattern, printed), f"{message!r} is not in {printed!r}"


def assert_described(heading: str, at: At, clients: Clients) -> None:
    """Compare the output of each client with the table of the page."""
    words = table(heading)
    assert words.keys() >= clients.keys()
    for name, argv in clients.items():
        pattern = ".*".join(map(re.escape, words[name].split("…")))
        printed = said(argv(at))
        assert re.search(pattern, printed, re.DOTALL), f"{name}: {words[name]!r} is not in {printed!r}"


@pytest.fixture
def here(server: Server) -> At:
    """The server under the name in its certificate, and a copy of the admin's files."""
    return At(by_name(server), server.certs)


def by_name(server: Server) -> str:
    """Return the server's address with a host name instead of the IP address."""
    return server.address.replace("127.0.0.1", "localhost")


def changed(certs: Path, folder: Path, **contents: bytes) -> Path:
    """Return a copy of the certificates with replaced files: `admin=`, `admin_key=`."""
    shutil.copytree(certs, folder)
    for name, content in contents.items():
        (folder / f"{name.replace('_', '-')}.pem").write_bytes(content)
    return folder


def expiring(certs: Path, name: str, end: dt.datetime) -> bytes:
    """Return a copy of a certificate with another end of its validity, signed by the same CA."""
    old = x509.load_pem_x509_certificate((certs / f"{name}.pem").read_bytes())
    signer = serialization.load_pem_private_key((certs / "ca-key.pem").read_bytes(), None)
    assert isinstance(signer, rsa.RSAPrivateKey)
    public_key = old.public_key()
    assert isinstance(public_key, rsa.RSAPublicKey)
    builder = (
        x509.CertificateBuilder().subject_name(old.subject).issuer_name(old.issuer).public_key(public_key)
    )
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(end - dt.timedelta(days=1)).not_valid_after(end)
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_a_certificate_that_the_server_refuses(here: At, clients: Clients, tmp_path: Path) -> None:
    others = make_certificates(BIN, tmp_path / "others")
    foreign = {
        "admin": (others / "admin.pem").read_bytes(),
        "admin_key": (others / "admin-key.pem").read_bytes(),
    }
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    refused = (foreign, {"admin": expiring(here.certs, "admin", yesterday)})
    for number, contents in enumerate(refused):
        certs = changed(here.certs, tmp_path / f"{number}", **contents)
        assert_described(
            "The server closes the connection without a reason", At(here.address, certs), clients
        )


def test_an_authority_unknown_to_the_client(here: At, clients: Clients, tmp_path: Path) -> None:
    others = make_certificates(BIN, tmp_path / "others")
    certs = changed(here.certs, tmp_path / "certs", ca=(others / "ca.pem").read_bytes())
    assert_described("The client does not know the server's authority", At(here.address, certs), clients)


def test_a_server_whose_certificate_expired(here: At, clients: Clients, tmp_path: Path) -> None:
    """The server starts before the end and keeps serving, because its jobs continue."""
    end = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=10)
    certs = changed(here.certs, tmp_path / "certs", server=expiring(here.certs, "server", end))
    with Server.started(BIN, certs, tmp_path / "state") as late:
        while dt.datetime.now(dt.UTC) <= end + dt.timedelta(seconds=1):
            time.sleep(0.1)
        assert_described("The server's certificate has expired", At(by_name(late), certs), clients)


def test_a_server_with_another_name(here: At, clients: Clients, tmp_path: Path) -> None:
    certs = changed(here.certs, tmp_path / "certs")
    issue: list[str | Path] = [
        BIN / "jobworkerd",
        "certs",
        "issue",
        "server",
        "--role",
        "server",
        "--dir",
        certs,
    ]
    subprocess.run([*issue, "--host", "elsewhere.example", "--force"], check=True, capture_output=True)
    with Server.started(BIN, certs, tmp_path / "state") as other:
        assert_described("The server's certificate is for another name", At(by_name(other), certs), clients)


def test_a_port_that_is_closed(here: At, clients: Clients) -> None:
    with socket.socket() as taken:
        # Bound but not listening, so that no other process takes the port.
        taken.bind(("127.0.0.1", 0))
        nobody = At(f"localhost:{taken.getsockname()[1]}", here.certs)
        assert_described("No server listens on the port", nobody, clients)


def test_a_server_that_restarts() -> None:
    printed = {
        f"error: {error} ({reason_name(ROWS[type(error)][1])})"
        for error in (errors.SupervisorUnavailable(), errors.ShuttingDown())
    }
    assert set(messages("The server restarts")) == printed


def test_a_job_that_is_lost(certs: Path, tmp_path: Path) -> None:
    (message,) = messages("A job is lost")
    with Server.started(BIN, certs, tmp_path / "state") as server:
        create, wait = (
            _of_environment([str(BIN / "jobworker"), *words])(At(server.address, certs))
            for words in (("create", "-q", "sleep", "60"), ("wait",))
        )
        job_id = said(create).strip()
        assert server.process
        server.process.kill()
        server.process.wait()
        server.launch()
        assert_printed(message, [*wait, job_id])


def test_a_job_that_cannot_be_deleted(here: At) -> None:
    running, unknown = messages("A job cannot be deleted")
    create, delete, stop = (
        _of_environment([str(BIN / "jobworker"), *words])(here)
        for words in (("create", "-q", "sleep", "60"), ("delete",), ("stop", "--now"))
    )
    job_id = said(create).strip()
    assert_printed(running, [*delete, job_id])
    said([*stop, job_id])
    assert said([*delete, job_id]) == f"{job_id}\n"
    assert_printed(unknown, [*delete, job_id])


def test_older_protocols_end_without_a_message(here: At) -> None:
    files = _curl(here)
    for flags in (["--tls-max", "1.2"], ["--http1.1"]) if shutil.which("curl") else ():
        assert re.search(r"curl: \((35|52|55|56)\)", said([*files, *flags])), flags
    plaintext = said([str(BIN / "grpcurl"), "-plaintext", "-connect-timeout", "3", here.address, "list"])
    assert "context deadline exceeded" in plaintext
