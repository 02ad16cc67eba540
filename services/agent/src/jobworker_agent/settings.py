"""Settings of the agent: flags, environment variables and a TOML file."""

import ipaddress
import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobworker_agent.host_address import HostAddress
from jobworker_agent.node_object import NodeIdentity

TEXTS = (
    "address",
    "node",
    "kubeconfig",
    "namespace",
    "server",
    "server_name",
    "certs_dir",
    "limits_policy",
    "metrics_listen",
    "log_level",
    "log_format",
)
NUMBERS = ("max_cpu", "max_memory", "max_jobs")
LIST = "label"

_NODE_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_LABEL_NAME = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


class InvalidSettings(ValueError):
    """Raised for a setting that is not accepted. `str()` names it."""


@dataclass(frozen=True)
class Settings:
    """The node, the server of this host, the way to Kubernetes, and the address of the Prometheus endpoint.

    Without `kubeconfig`, the agent uses the service account of the Pod in which it runs. Without
    `metrics_listen`, there is no endpoint.
    """

    identity: NodeIdentity
    server: HostAddress
    kubeconfig: Path | None
    namespace: str
    metrics_listen: tuple[str, int] | None = None


def node_identity(
    node: str,
    address: str,
    labels: list[str],
    maxima: Mapping[str, int],
    *,
    requires_limits: bool = True,
) -> NodeIdentity:
    """Check the settings of the node. `maxima` has `max_cpu`, `max_memory` and `max_jobs`.

    Raises:
        InvalidSettings: a setting is not accepted.
    """
    name = node or socket.gethostname().lower()
    if not _NODE_NAME.fullmatch(name):
        raise InvalidSettings(f"node: {name!r} is not a name of a node; use a DNS name in lower case")
    for key, value in maxima.items():
        if value < 0:
            raise InvalidSettings(f"{key}: {value} is negative; use 0 for the capacity of the host")
    _check_address("address", address)
    if _is_loopback(address):
        raise InvalidSettings(
            f"address: other hosts cannot reach {address}; use an address of this host for gateways"
        )
    return NodeIdentity(name, address, _parse_labels(labels), **maxima, requires_limits=requires_limits)


def host_address(server: str, server_name: str, certs_dir: Path) -> HostAddress:
    """Check the address of the server. The files of the certificate are read later.

    Raises:
        InvalidSettings: the address is not accepted.
    """
    _check_address("server", server)
    return HostAddress(
        server, server_name, certs_dir / "ca.pem", certs_dir / "gateway.pem", certs_dir / "gateway-key.pem"
    )


def metrics_address(listen: str) -> tuple[str, int] | None:
    """Return the host and the port of the Prometheus endpoint; None without one.

    Raises:
        InvalidSettings: the address is not accepted.
    """
    if not listen:
        return None
    host, _, port = listen.rpartition(":")
    if not port.isascii() or not port.isdecimal() or int(port[:6]) >= 65_536 or not _is_loopback(listen):
        raise InvalidSettings(
            f"metrics_listen: {listen!r} is not a loopback address with a port; use one such as "
            "127.0.0.1:9465, or leave it empty for no endpoint"
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def read_file(path: Path) -> dict[str, str | int | list[str]]:
    """Return the settings in a TOML file.

    Raises:
        InvalidSettings: the file cannot be read, or has a key or a value that is not accepted.
    """
    try:
        found = tomllib.loads(path.read_text())
    except OSError as error:
        raise InvalidSettings(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidSettings(f"{path}: cannot be read: {error}") from error
    labels = found.pop("labels", {})
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise InvalidSettings(f"{path}: labels is {labels!r}; use a table of strings")
    for key, value in found.items():
        _check_type(path, key, value)
    return {**found, LIST: [f"{name}={value}" for name, value in labels.items()]}


def _check_address(setting: str, address: str) -> None:
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdecimal() or not 0 < int(port[:6]) < 65_536:
        raise InvalidSettings(f"{setting}: {address!r} is not HOST:PORT, such as host1.example.org:50051")


def _check_type(path: Path, key: str, value: object) -> None:
    if key in TEXTS:
        kind, accepted = "string", isinstance(value, str)
    elif key in NUMBERS:
        kind, accepted = "number", isinstance(value, int) and not isinstance(value, bool)
    else:
        known = ", ".join((*TEXTS, *NUMBERS, "labels"))
        raise InvalidSettings(f"{path}: unknown setting {key}; use one of {known}")
    if not accepted:
        raise InvalidSettings(f"{path}: {key} is {value!r}; use a {kind}")


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parse_labels(labels: list[str]) -> dict[str, str]:
    found = {}
    for label in labels:
        name, equals, value = label.partition("=")
        if not equals or not _LABEL_NAME.fullmatch(name) or not _LABEL_VALUE.fullmatch(value):
            raise InvalidSettings(
                f"label: {label!r} is not a label of Kubernetes; use NAME=VALUE, such as disk=ssd"
            )
        found[name] = value
    return found
