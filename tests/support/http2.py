"""A minimal HTTP/2 client that can violate the protocol (RFC 9113)."""

import socket
import ssl
import struct
from pathlib import Path

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS = 0, 1, 3, 4
_END_STREAM, _END_HEADERS = 1, 4
_CANCEL = 8


def connect(address: str, authority: Path, certificate: Path, key: Path) -> ssl.SSLSocket:
    """Return a connection after the preface has been sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    connection = context.wrap_socket(socket.create_connection((host, int(port))), server_hostname="localhost")
    connection.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b""))
    return connection


def reset_calls(method: str, request: bytes, first: int, count: int) -> bytes:
    """Return calls of a method, each reset immediately; `first` is the stream id of the first."""
    headers = b"".join(
        _literal(name, value)
        for name, value in {
            ":method": "POST",
            ":scheme": "https",
            ":path": method,
            ":authority": "localhost",
            "te": "trailers",
            "content-type": "application/grpc",
        }.items()
    )
    message = b"\0" + struct.pack(">I", len(request)) + request
    return b"".join(
        _frame(_HEADERS, _END_HEADERS, stream, headers)
        + _frame(_DATA, _END_STREAM, stream, message)
        + _frame(_RST_STREAM, 0, stream, struct.pack(">I", _CANCEL))
        for stream in range(2 * first + 1, 2 * (first + count) + 1, 2)
    )


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _literal(name: str, value: str) -> bytes:
    """Return a header that is not added to the dynamic table (RFC 7541, section 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
