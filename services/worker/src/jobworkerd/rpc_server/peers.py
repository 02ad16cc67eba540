"""The TCP connections of this process, by the names that gRPC gives their clients (`ipv4:127.0.0.1:5000`).

gRPC has no function that lists or closes the connections of a server, so this module looks at the
descriptors.
"""

import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote


def open_peers(port: int) -> set[str]:
    """Return the peers of all connections to a local port. A thousand connections take some milliseconds."""
    return {peer for _, peer in _connections(port)}


def close_peers(port: int, is_unwanted: Callable[[str], bool]) -> int:
    """Shut down the connections of peers to a local port, and return their number. gRPC closes them."""
    count = 0
    for sock, peer in _connections(port):
        if is_unwanted(peer):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
                count += 1
    return count


def normalized(peer: str) -> str:
    """Return the peer of a call in the form of `open_peers`. gRPC quotes the brackets of IPv6 addresses."""
    return unquote(peer) if "%" in peer else peer


def _connections(port: int) -> Iterator[tuple[socket.socket, str]]:
    """Yield each connection of this process to a port; the socket is closed afterwards."""
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError), _socket(int(each.name)) as sock:
            is_tcp = sock.type == socket.SOCK_STREAM and sock.family in (socket.AF_INET, socket.AF_INET6)
            if is_tcp and sock.getsockname()[1] == port:
                yield sock, _name(sock.getpeername())


def _socket(descriptor: int) -> socket.socket:
    # A duplicate stays the same connection if gRPC closes its descriptor meanwhile.
    duplicate = os.dup(descriptor)
    try:
        return socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        raise


def _name(address: tuple[str, int]) -> str:
    host, port = address[:2]
    ip = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return f"ipv4:{ip}:{port}" if ip.version == 4 else f"ipv6:[{host}]:{port}"
