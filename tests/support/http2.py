"""A minimal HTTP/2 client that can violate the protocol (RFC 9113)."""

import socket
import ssl
import struct
from pathlib import Path

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _CONTINUATION = 0, 1, 3, 4, 9
_END_STREAM, _END_HEADERS = 1, 4
_CANCEL = 8
_FRAME_BYTES = 16_384
_TABLE_ENTRY_BYTES = 4_000
_REPEAT_NEWEST = b"\xbe"
"""Index 62: the newest entry of the dynamic table (RFC 7541, section 6.1)."""


def client_context(authority: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the TLS settings of a client that speaks HTTP/2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    return context


def connect(address: str, authority: Path, certificate: Path, key: Path) -> ssl.SSLSocket:
    """Return a connection after the preface has been sent."""
    host, _, port = address.rpartition(":")
    context = client_context(authority, certificate, key)
    connection = context.wrap_socket(socket.create_connection((host, int(port))), server_hostname="localhost")
    connection.sendall(PREFACE)
    return connection


def reset_calls(method: str, request: bytes, first: int, count: int) -> bytes:
    """Return calls of a method, each reset immediately; `first` is the stream id of the first."""
    headers = _call_headers(method)
    message = _message(request)
    return b"".join(
        _frame(_HEADERS, _END_HEADERS, stream, headers)
        + _frame(_DATA, _END_STREAM, stream, message)
        + _frame(_RST_STREAM, 0, stream, struct.pack(">I", _CANCEL))
        for stream in range(2 * first + 1, 2 * (first + count) + 1, 2)
    )


def gzipped_call(method: str, compressed: bytes) -> bytes:
    """Return the first call of a connection, with a compressed message."""
    headers = _call_headers(method) + _literal("grpc-encoding", "gzip")
    message = _message(compressed, is_compressed=True)
    parts = [message[begin : begin + _FRAME_BYTES] for begin in range(0, len(message), _FRAME_BYTES)]
    return _frame(_HEADERS, _END_HEADERS, 1, headers) + b"".join(_frame(_DATA, 0, 1, each) for each in parts)


def unfinished_call(method: str, length: int) -> bytes:
    """Return the first call of a connection, whose message has a length and no content."""
    prefix = b"\0" + struct.pack(">I", length)
    return _frame(_HEADERS, _END_HEADERS, 1, _call_headers(method)) + _frame(_DATA, 0, 1, prefix)


def header_bomb(method: str) -> bytes:
    """Return the first call of a connection, with thousands of references to a header of 4,000 bytes."""
    # An entry of the dynamic table (RFC 7541, section 6.2.1).
    entry = b"\x40" + _literal("x", "x" * _TABLE_ENTRY_BYTES)[1:]
    headers = _call_headers(method) + entry
    return _frame(_HEADERS, _END_HEADERS, 1, headers + _REPEAT_NEWEST * (_FRAME_BYTES - len(headers)))


def endless_headers(method: str, frames: int) -> bytes:
    """Return a block of headers of the first call that continues and does not end."""
    more = _literal("x", "x" * (_FRAME_BYTES - 16))
    return _frame(_HEADERS, 0, 1, _call_headers(method)) + _frame(_CONTINUATION, 0, 1, more) * frames


def _call_headers(method: str) -> bytes:
    headers = {
        ":method": "POST",
        ":scheme": "https",
        ":path": method,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return b"".join(_literal(name, value) for name, value in headers.items())


def _message(content: bytes, *, is_compressed: bool = False) -> bytes:
    return bytes([is_compressed]) + struct.pack(">I", len(content)) + content


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _literal(name: str, value: str) -> bytes:
    """Return a header that is not added to the dynamic table (RFC 7541, section 6.2.2)."""
    return b"\0" + _length(len(name)) + name.encode() + _length(len(value)) + value.encode()


def _length(number: int) -> bytes:
    """Return an integer with a prefix of seven bits (RFC 7541, section 5.1)."""
    if number < 127:
        return bytes([number])
    encoded, rest = bytearray([127]), number - 127
    while rest >= 128:
        encoded.append(rest % 128 + 128)
        rest //= 128
    return bytes([*encoded, rest])


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, b"")
"""The first bytes of a client."""
