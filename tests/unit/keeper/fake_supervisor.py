"""`python fake_supervisor.py ADDRESS …`: hands its connection to the keeper over to a test, and sleeps.

It connects to the socket ADDRESS, where the test listens, and sends its descriptor. It ends with the exit
code that the test sends.
"""

import os
import socket
import sys

KEEPER_FD = 3


def main() -> int:
    """Run until the test sends an exit code."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(sys.argv[1])
        socket.send_fds(sock, [str(os.getpid()).encode()], [KEEPER_FD])
        os.close(KEEPER_FD)
        return int(sock.recv(16) or b"0")


if __name__ == "__main__":
    sys.exit(main())
