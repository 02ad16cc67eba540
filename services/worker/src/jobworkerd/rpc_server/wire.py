"""The parts of the encoding of protobuf that this project writes by itself, to copy large values less often.

https://protobuf.dev/programming-guides/encoding/
"""

_LENGTH_DELIMITED = 2


def field(number: int, value: bytes, rest: bytes = b"") -> bytes:
    """Return a field with a message, a string or bytes as its value, followed by other fields."""
    return b"".join((_varint(number << 3 | _LENGTH_DELIMITED), _varint(len(value)), value, rest))


def _varint(value: int) -> bytes:
    """Return a varint: seven bits per byte, lowest first; the top bit is set in all but the last byte."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
