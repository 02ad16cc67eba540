"""Credentials for Kubernetes, from files."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from aiohttp import web
from cryptography import x509

from jobworker_cluster import access
from jobworker_cluster.access import Access, InvalidKubeconfig, read_access
from jobworker_cluster.kube import Kube
from jobworker_cluster.kube_errors import KubeError
from jobworker_cluster.kube_sessions import KubeSessions
from jobworker_cluster.resources import NODES


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """The authority of the API server and of its clients."""
    return trustme.CA()


@pytest.fixture
def held() -> asyncio.Event:
    """Set when a request for the name `held` has arrived, whose answer waits until the event is cleared."""
    return asyncio.Event()


@pytest.fixture
async def server(authority: trustme.CA, held: asyncio.Event) -> AsyncIterator[str]:
    """A server that answers with the common name, or the token, of its client."""

    async def answer(request: web.Request) -> web.Response:
        assert request.transport
        if request.path.endswith("/held"):
            held.set()
            while held.is_set():
                await asyncio.sleep(0.005)
        certificate = request.transport.get_extra_info("peercert")
        subject = dict(pair for (pair,) in certificate["subject"]) if certificate else {}
        name = subject.get("commonName") or request.headers.get("Authorization", "")
        return web.json_response({"metadata": {"name": name}})

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_OPTIONAL
    authority.issue_cert("api.example.org").configure_cert(context)
    authority.configure_trust(context)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def proxy() -> AsyncIterator[str]:
    """An HTTP proxy that answers itself, with the name of the server that it was asked for."""

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.json_response({"metadata": {"name": f"through the proxy to {request.host}"}})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def _write(directory: Path, cluster: dict[str, Any], user: dict[str, Any], **fields: Any) -> Path:
    own = {"cluster": "k", "user": "u"}
    config = {
        "current-context": "c",
        "contexts": [
            {"name": "other", "context": {}},
            {"name": "c", "context": own},
        ],
        "clusters": [{"name": "k", "cluster": {"tls-server-name": "api.example.org", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(config | fields))
    return path


async def _name(found: Access) -> str:
    """Return how the server sees a client."""
    kube = Kube(found)
    try:
        return str((await kube.get(NODES, "n"))["metadata"]["name"])
    finally:
        await kube.close()


def _base64(pem: trustme.Blob) -> str:
    return base64.b64encode(pem.bytes()).decode()


async def test_a_certificate_in_the_file_authenticates(
    server: str, authority: trustme.CA, tmp_path: Path
) -> None:
    own = authority.issue_cert(common_name="system:node:a")
    user = {
        "client-certificate-data": _base64(own.cert_chain_pems[0]),
        "client-key-data": _base64(own.private_key_pem),
    }
    cluster = {"server": f"{server}/", "certificate-authority-data": _base64(authority.cert_pem)}
    assert await _name(read_access(_write(tmp_path, cluster, user))) == "system:node:a"


async def test_files_are_relative_to_the_kubeconfig(
    server: str, authority: trustme.CA, tmp_path: Path
) -> None:
    own = authority.issue_cert(common_name="system:node:b")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    own.cert_chain_pems[0].write_to_path(str(tmp_path / "node.pem"))
    own.private_key_pem.write_to_path(str(tmp_path / "node-key.pem"))
    user = {"client-certificate": "node.pem", "client-key": "node-key.pem"}
    cluster = {"server": server, "certificate-authority": "ca.pem"}
    assert await _name(read_access(_write(tmp_path, cluster, user))) == "system:node:b"


async def test_a_token_file_that_was_replaced_is_read_again(
    server: str, authority: trustme.CA, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("one\n")
    cluster = {"server": server, "certificate-authority-data": _base64(authority.cert_pem)}
    found = read_access(_write(tmp_path, cluster, {"tokenFile": "token"}))
    assert await _name(found) == "Bearer one"
    (tmp_path / "token").write_text("two\n")
    assert await _name(found) == "Bearer two"


def _write_node(directory: Path, authority: trustme.CA, name: str) -> None:
    own = authority.issue_cert(common_name=name)
    for file, content in (
        ("node.pem", own.cert_chain_pems[0].bytes()),
        ("node-key.pem", own.private_key_pem.bytes()),
    ):
        (directory / "new").write_bytes(content)
        (directory / "new").rename(directory / file)


@pytest.fixture
async def kube(server: str, authority: trustme.CA, tmp_path: Path) -> AsyncIterator[Kube]:
    """A client with a kubeconfig that names files."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    _write_node(tmp_path, authority, "one")
    user = {"client-certificate": "node.pem", "client-key": "node-key.pem"}
    kube = await Kube.connect(_write(tmp_path, {"server": server, "certificate-authority": "ca.pem"}, user))
    yield kube
    await kube.close()


async def _seen(kube: Kube, name: str = "n") -> str:
    return str((await kube.get(NODES, name))["metadata"]["name"])


async def test_the_certificate_in_use_says_when_it_expires(kube: Kube, tmp_path: Path) -> None:
    assert kube.certificate
    pem = x509.load_pem_x509_certificate((tmp_path / "node.pem").read_bytes())
    assert kube.certificate.expiry == pem.not_valid_after_utc
    assert kube.certificate.renewal.startswith("let Kubernetes sign another one for one, and set it with: ")


async def test_a_replaced_certificate_is_used_without_a_restart(
    kube: Kube, authority: trustme.CA, tmp_path: Path
) -> None:
    assert await _seen(kube) == "one"
    assert not await kube.refresh()
    _write_node(tmp_path, authority, "two")
    assert await _seen(kube) == "one"
    assert await kube.refresh()
    assert await _seen(kube) == "two"
    assert not await kube.refresh()


async def test_a_replaced_kubeconfig_is_used_without_a_restart(
    kube: Kube, server: str, authority: trustme.CA, tmp_path: Path
) -> None:
    cluster = {"server": server, "certificate-authority-data": _base64(authority.cert_pem)}
    _write(tmp_path, cluster, {"token": "new"})
    assert await kube.refresh()
    assert await _seen(kube) == "Bearer new"
    assert kube.certificate is None


async def test_calls_in_progress_go_on_with_the_former_credentials(
    kube: Kube, authority: trustme.CA, tmp_path: Path, held: asyncio.Event
) -> None:
    waiting = asyncio.create_task(_seen(kube, "held"))
    await held.wait()
    _write_node(tmp_path, authority, "two")
    assert await kube.refresh()
    assert await _seen(kube) == "two"
    held.clear()
    assert await waiting == "one"


async def test_files_that_cannot_be_used_leave_the_former_ones_in_use(
    kube: Kube, authority: trustme.CA, tmp_path: Path
) -> None:
    key = (tmp_path / "node-key.pem").read_bytes()
    _write_node(tmp_path, authority, "two")
    (tmp_path / "node-key.pem").write_bytes(key)
    # The next file may be replaced right now.
    assert not await kube.refresh()
    with pytest.raises(InvalidKubeconfig, match="KEY_VALUES_MISMATCH"):
        await kube.refresh()
    assert not await kube.refresh()
    assert await _seen(kube) == "one"
    _write_node(tmp_path, authority, "three")
    assert await kube.refresh()
    assert await _seen(kube) == "three"


async def test_a_former_session_is_closed_after_its_calls_had_time(
    server: str, authority: trustme.CA, tmp_path: Path
) -> None:
    times = [0.0]
    cluster = {"server": server, "certificate-authority-data": _base64(authority.cert_pem)}
    path = _write(tmp_path, cluster, {"token": "one"})
    sessions = KubeSessions(read_access(path), path, lambda: times[-1])
    former = sessions.current
    _write(tmp_path, cluster, {"token": "another"})
    assert await sessions.refresh()
    closed = []
    for seconds in (59.0, 60.0):
        times.append(seconds)
        await sessions.refresh()
        closed.append(former.closed)
    assert closed == [False, True]
    await sessions.close()
    assert sessions.current.closed


async def test_a_token_in_the_file_authenticates(server: str, tmp_path: Path) -> None:
    cluster = {"server": server, "insecure-skip-tls-verify": True}
    assert await _name(read_access(_write(tmp_path, cluster, {"token": "three"}))) == "Bearer three"


async def test_a_server_of_another_authority_is_refused(server: str, tmp_path: Path) -> None:
    cluster = {"server": server, "certificate-authority-data": _base64(trustme.CA().cert_pem)}
    with pytest.raises(KubeError, match="certificate verify failed"):
        await _name(read_access(_write(tmp_path, cluster, {})))


async def test_an_authority_without_newer_extensions_is_accepted_with_each_python(
    server: str, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes accepts it; Python 3.13 would not."""
    usual = ssl.create_default_context

    def strict(*arguments: Any, **options: Any) -> ssl.SSLContext:
        context = usual(*arguments, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    cluster = {"server": server, "certificate-authority-data": _base64(authority.cert_pem)}
    found = read_access(_write(tmp_path, cluster, {"token": "six"}))
    assert not found.context.verify_flags & ssl.VERIFY_X509_STRICT
    assert await _name(found) == "Bearer six"


async def test_a_password_of_the_user_is_not_sent(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    cluster = {"server": server, "insecure-skip-tls-verify": True}
    assert await _name(read_access(_write(tmp_path, cluster, {}))) == ""


async def test_the_proxy_of_the_environment_is_used(
    proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "localhost")
    found = read_access(_write(tmp_path, {"server": "http://api.example.org:6443"}, {}))
    assert await _name(found) == "through the proxy to api.example.org"


async def test_a_server_can_need_no_proxy(
    server: str, proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    cluster = {"server": server, "insecure-skip-tls-verify": True}
    assert await _name(read_access(_write(tmp_path, cluster, {"token": "five"}))) == "Bearer five"


def test_the_service_account_of_a_pod_is_the_default(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    (tmp_path / "token").write_text("four")
    monkeypatch.setattr(access, "_SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "2001:db8::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    found = read_access(None)
    assert found.server == "https://[2001:db8::1]:443"
    assert found.headers() == {"Authorization": "Bearer four"}


@pytest.mark.parametrize(
    ("cluster", "user", "fields", "why"),
    [
        ({}, {}, {}, "it has no 'server'"),
        (
            {"server": "https://a"},
            {"exec": {}},
            {},
            "exec is not supported; use a client",
        ),
        ({"server": "https://a"}, {}, {"current-context": "d"}, "it has no context d"),
        ({"server": "https://a"}, {}, {"users": []}, "it has no user u"),
        ({"server": "https://a", "certificate-authority": "missing.pem"}, {}, {}, "missing.pem"),
        ({"server": "https://a", "certificate-authority-data": "?"}, {}, {}, "base64"),
        ({"server": "https://a"}, {"client-certificate-data": "eA=="}, {}, "PEM"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_says_why(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], fields: dict[str, Any], why: str
) -> None:
    path = _write(tmp_path, cluster, user, **fields)
    with pytest.raises(InvalidKubeconfig, match=f"kubeconfig: {path} cannot be used: .*{why}"):
        read_access(path)


@pytest.mark.parametrize("text", ["", "a: [", "5"])
def test_a_file_that_is_no_kubeconfig_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "kubeconfig").write_text(text)
    with pytest.raises(InvalidKubeconfig):
        read_access(tmp_path / "kubeconfig")


@pytest.mark.parametrize("missing", ["kubeconfig", "ca.pem"])
def test_a_missing_file_is_named_once(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "kubeconfig"
    if missing != "kubeconfig":
        path = _write(tmp_path, {"server": "https://a", "certificate-authority": missing}, {})
    with pytest.raises(InvalidKubeconfig) as caught:
        read_access(path)
    which = "" if missing == "kubeconfig" else f"{tmp_path}/{missing}: "
    assert str(caught.value) == f"kubeconfig: {path} cannot be used: {which}No such file or directory"


def test_a_process_outside_of_a_pod_needs_a_kubeconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(InvalidKubeconfig, match="the service account of this Pod cannot be used"):
        read_access(None)
