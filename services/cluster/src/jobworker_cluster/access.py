"""Address and credentials of the apiserver, from a kubeconfig file or from a service account.

The library of Kubernetes for Python can read more kinds of credentials. It also loads 100 MB of classes for
all objects, in each agent and each gateway.
"""

import base64
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import yaml

from jobworker_cluster import client_certificates
from jobworker_cluster.client_certificates import ClientCertificate

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class InvalidKubeconfig(ValueError):
    """Raised for a kubeconfig or a service account that cannot be used. `str()` names it."""


@dataclass(frozen=True)
class Access:
    """The way to the apiserver. `server_name` is the name in its certificate if the address has another one.

    Programs replace the file of a token before the token expires. `proxy` is the URL of an HTTP proxy.
    `certificate` is that of the client, if it has one. `files` are those from which the access was read.
    """

    server: str
    context: ssl.SSLContext
    server_name: str | None = None
    proxy: str | None = None
    token: str = ""
    token_file: Path | None = None
    certificate: ClientCertificate | None = None
    files: tuple[Path, ...] = ()

    def headers(self) -> Mapping[str, str]:
        """Return the headers that authenticate a request.

        Raises:
            OSError: the file of the token cannot be read.
        """
        token = self.token_file.read_text().strip() if self.token_file else self.token
        return {"Authorization": f"Bearer {token}"} if token else {}


def read_access(kubeconfig: Path | None) -> Access:
    """Return the access in the current context of a kubeconfig file, or that of the Pod of this process.

    Raises:
        InvalidKubeconfig: the file or the service account cannot be used.
    """
    try:
        return _from_file(kubeconfig) if kubeconfig else _from_service_account()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        source = kubeconfig or "the service account of this Pod"
        raise InvalidKubeconfig(f"kubeconfig: {source} cannot be used: {_why(error, kubeconfig)}") from error


def _why(error: Exception, kubeconfig: Path | None) -> str:
    match error:
        case KeyError():
            return f"it has no {error}"
        case OSError(filename=str(name), strerror=str(why)):
            return why if name == str(kubeconfig) else f"{name}: {why}"
    return str(error)


def _from_service_account() -> Access:
    address = f"{_bracketed(os.environ['KUBERNETES_SERVICE_HOST'])}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    authority = _SERVICE_ACCOUNT / "ca.crt"
    context = _trusting(authority.read_text())
    server = f"https://{address}"
    return Access(
        server, context, proxy=_proxy(server), token_file=_SERVICE_ACCOUNT / "token", files=(authority,)
    )


def _from_file(path: Path) -> Access:
    config = yaml.safe_load(path.read_text())
    chosen = _named(config, "context", config["current-context"])
    cluster = _named(config, "cluster", chosen["cluster"])
    user = _named(config, "user", chosen["user"])
    if unsupported := {"exec", "auth-provider", "username"} & user.keys():
        raise ValueError(f"{unsupported.pop()} is not supported; use a client certificate or a token")
    token_file = user.get("tokenFile")
    server = cluster["server"].rstrip("/")
    return Access(
        server=server,
        context=_context(path.parent, cluster, user),
        server_name=cluster.get("tls-server-name"),
        proxy=_proxy(server),
        token=user.get("token", ""),
        token_file=path.parent / token_file if token_file else None,
        certificate=_certificate(path, chosen["user"], user),
        files=(path, *_named_files(path.parent, cluster, user)),
    )


def _named_files(directory: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> Iterator[Path]:
    keys = ((cluster, "certificate-authority"), (user, "client-certificate"), (user, "client-key"))
    for section, key in keys:
        if section.get(key) and not section.get(f"{key}-data"):
            yield directory / section[key]


def _certificate(path: Path, name: str, user: Mapping[str, Any]) -> ClientCertificate | None:
    pem = _pem(path.parent, user, "client-certificate")
    return client_certificates.of_kubeconfig(str(path), name, pem) if pem else None


def _proxy(server: str) -> str | None:
    """Return the proxy in the environment for a server, such as that in `https_proxy`."""
    url = urlsplit(server)
    return None if proxy_bypass(url.hostname or "") else getproxies().get(url.scheme)


def _named(config: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    for each in config[f"{kind}s"]:
        if each["name"] == name:
            found: dict[str, Any] = each[kind]
            return found
    raise ValueError(f"it has no {kind} {name}")


def _context(directory: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    authority = _pem(directory, cluster, "certificate-authority")
    context = _trusting(authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate := _pem(directory, user, "client-certificate"):
        key = _pem(directory, user, "client-key")
        with _file(certificate + b"\n" + (key or b"")) as path:
            # With an empty password, an encrypted key is an error instead of a prompt on the terminal.
            context.load_cert_chain(path, password="")
    return context


def _trusting(authority: str | None) -> ssl.SSLContext:
    """Return a context that trusts an authority, or those of this system."""
    context = ssl.create_default_context(cadata=authority)
    # The default since Python 3.13 refuses authorities without some extensions, which Kubernetes accepts.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _pem(directory: Path, section: Mapping[str, Any], key: str) -> bytes | None:
    """Return what a key names: the content itself, with `-data`, or a path relative to the kubeconfig."""
    if data := section.get(f"{key}-data"):
        return base64.b64decode(data, validate=True)
    path = section.get(key)
    return (directory / path).read_bytes() if path else None


@contextmanager
def _file(content: bytes) -> Iterator[str]:
    """Return the path of a file that only this user can read, for a function that accepts no bytes."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.name


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
