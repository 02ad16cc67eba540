"""The fill level of a pipe."""

import fcntl
import struct
import termios


def readable_bytes(pipe: int) -> int:
    """Return the number of bytes in a pipe (FIONREAD, ioctl_tty(2))."""
    answer = fcntl.ioctl(pipe, termios.FIONREAD, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])
