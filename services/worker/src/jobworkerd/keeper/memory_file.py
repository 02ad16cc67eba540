"""Files in memory (memfd_create(2)). Only processes that hold their descriptor can read them.

They carry content that is too large for a packet or too confidential for the arguments of a program.
"""

import os


def create(name: str, content: bytes, *, inheritable: bool = False) -> int:
    """Return the descriptor of a file with a content. The caller closes it.

    Raises:
        OSError: the host has no descriptor or no memory left.
    """
    file = os.memfd_create(name, 0 if inheritable else os.MFD_CLOEXEC)
    left = memoryview(content)
    try:
        while left:  # the kernel writes a part if memory runs out, and fails the next call
            left = left[os.write(file, left) :]
    except OSError:
        os.close(file)
        raise
    return file


def read(file: int) -> bytes:
    """Return the content. The position of the descriptor, which processes can share, has no effect."""
    return os.pread(file, os.fstat(file).st_size, 0)
