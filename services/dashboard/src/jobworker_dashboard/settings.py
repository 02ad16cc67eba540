"""Settings of the shared dashboard: flags, environment variables and a TOML file."""

import ipaddress
import ssl
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

KEYS = (
    "listen",
    "url",
    "tls_certificate",
    "tls_key",
    "server",
    "server_name",
    "ca",
    "certificate",
    "key",
)


class InvalidSettings(ValueError):
    """Raised for a setting that is not accepted. `str()` names it."""


@dataclass(frozen=True)
class Settings:
    """Addresses and certificate of the dashboard. `url` is the origin that browsers see."""

    listen: tuple[str, int]
    url: str
    tls_certificate: Path | None
    tls_key: Path | None

    @classmethod
    def parse(cls, listen: str, url: str, tls_certificate: Path | None, tls_key: Path | None) -> "Settings":
        """Check the settings.

        Raises:
            InvalidSettings: a setting is not accepted, or the dashboard would serve other hosts without TLS.
        """
        host, port = _address(listen)
        if (tls_certificate is None) is not (tls_key is None):
            raise InvalidSettings("tls_certificate and tls_key: only one of them is set; set both or none")
        if tls_certificate is None and not _is_loopback(host):
            raise InvalidSettings(
                f"listen: {host} is reachable from other hosts; set tls_certificate and tls_key, or "
                "listen on 127.0.0.1 behind a proxy that terminates TLS"
            )
        return cls((host, port), _origin(url), tls_certificate, tls_key)

    def tls_context(self) -> ssl.SSLContext | None:
        """Return the context of the server's certificate; None without TLS.

        Raises:
            InvalidSettings: the certificate or the key cannot be used.
        """
        if self.tls_certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            # With an empty password, an encrypted key is an error instead of a prompt on the terminal.
            context.load_cert_chain(self.tls_certificate, self.tls_key, password="")
        except OSError as error:
            raise InvalidSettings(
                f"tls_certificate: {self.tls_certificate} and {self.tls_key} cannot be used: {error}"
            ) from error
        return context


def read_file(path: Path) -> dict[str, str]:
    """Return the settings in a TOML file.

    Raises:
        InvalidSettings: the file cannot be read, or has a key or a value that is not accepted.
    """
    try:
        found = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InvalidSettings(f"{path}: cannot be read: {error}") from error
    for key, value in found.items():
        if key not in KEYS:
            raise InvalidSettings(f"{path}: unknown setting {key}; use one of {', '.join(KEYS)}")
        if not isinstance(value, str):
            raise InvalidSettings(f"{path}: {key} is {value!r}; use a string")
    return found


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdecimal() or int(port[:6]) > 65_535:
        raise InvalidSettings(f"listen: {listen!r} is not HOST:PORT, such as 127.0.0.1:8080")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _origin(url: str) -> str:
    """Return the origin in the form that browsers send it.

    `http` is accepted for the loopback interface only, because browsers send the cookie of a session to
    secure origins.
    """
    example = "use the address that browsers open, such as https://jobs.example.org"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidSettings(f"url: {url!r} is not an address; {example}") from None
    host = parts.hostname or ""
    secure = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))
    is_origin = parts.path in {"", "/"} and not (parts.query or parts.fragment or parts.username)
    if not host or not secure or not is_origin:
        raise InvalidSettings(f"url: {url!r} is not https://HOST[:PORT]; {example}")
    name = f"[{host}]" if ":" in host else host
    default = 443 if parts.scheme == "https" else 80
    return f"{parts.scheme}://{name}" + (f":{port}" if port not in {None, default} else "")
