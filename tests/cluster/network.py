"""Hosts as network namespaces: each has an interface on one bridge, and its link can be cut."""

import contextlib
import random
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.cluster.place import Place

_NAMESPACES = Path("/run/netns")
_TESTS = 254
"""The last part of the address that the tests have on the bridge."""


class Network:
    """A bridge in a network namespace, and the hosts at it. The tests reach all of them."""

    def __init__(self, prefix: str, subnet: str) -> None:
        """`prefix` starts the names of all namespaces and interfaces; `subnet` is like `10.77.3`."""
        self.prefix = prefix
        self.subnet = subnet
        self._switch = f"{prefix}-switch"
        self._hosts: list[str] = []

    @property
    def address(self) -> str:
        """The address of the tests, which all hosts reach."""
        return f"{self.subnet}.{_TESTS}"

    def place(self, name: str, number: int) -> Place:
        """Add a host whose address ends with a number."""
        place = Place(name, f"{self.subnet}.{number}", _NAMESPACES / f"{self.prefix}-{name}")
        self._hosts.append(name)
        namespace, switch = f"{self.prefix}-{name}", self._switch
        _ip("netns", "add", namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")
        peer = ("peer", "name", self._port(name), "netns", switch)
        _ip("-n", namespace, "link", "add", "eth0", "type", "veth", *peer)
        _ip("-n", namespace, "addr", "add", f"{place.address}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        self._plug(self._port(name))
        return place

    def cut(self, place: Place) -> None:
        """Cut the link of a host: packets are lost, and no connection learns of it."""
        _ip("-n", self._switch, "link", "set", self._port(place.name), "nomaster")

    def heal(self, place: Place) -> None:
        """Connect the link of a host again."""
        _ip("-n", self._switch, "link", "set", self._port(place.name), "master", "bridge")

    def heal_all(self) -> None:
        """Connect the links of all hosts."""
        for name in self._hosts:
            _ip("-n", self._switch, "link", "set", self._port(name), "master", "bridge")

    def open(self) -> None:
        """Create the bridge, and the interface of the tests."""
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "set", "lo", "up")
        _ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "bridge", "up")
        own = self.prefix
        _ip("link", "add", own, "type", "veth", "peer", "name", self._port("tests"), "netns", self._switch)
        _ip("addr", "add", f"{self.address}/24", "dev", own)
        _ip("link", "set", own, "up")
        self._plug(self._port("tests"))

    def close(self) -> None:
        """Remove the namespaces with their interfaces, and the interface of the tests."""
        _ip("link", "delete", self.prefix, check=False)
        for name in (*self._hosts, "switch"):
            _ip("netns", "delete", f"{self.prefix}-{name}", check=False)

    def _plug(self, port: str) -> None:
        _ip("-n", self._switch, "link", "set", port, "master", "bridge", "up")

    @staticmethod
    def _port(name: str) -> str:
        return f"to-{name}"


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Create a network with unused names and addresses, and remove it at the end. It needs root."""
    created = Network(f"jw{uuid.uuid4().hex[:6]}", _unused_subnet())
    try:
        created.open()
        yield created
    finally:
        created.close()


def _unused_subnet() -> str:
    routes = _ip("-o", "route", "show", "table", "all")
    while True:
        subnet = f"10.{random.randrange(64, 128)}.{random.randrange(256)}"
        if f"{subnet}." not in routes:
            return subnet


def _ip(*arguments: str, check: bool = True) -> str:
    argv: Sequence[str] = ("ip", *arguments)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout
