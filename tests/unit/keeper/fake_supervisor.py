"""Takes the place of `jobworkerd` and `jobworkerd.supervisor`: lets a test use its connection to the keeper.

It sends its descriptors to the test, at the socket FAKE_ADDRESS, and ends with the exit code that the test
sends.
"""

import os
import socket
import sys


def main() -> int:
    """Run until the test sends an exit code."""
    if "KEEPER_SOCKET_FD" in os.environ:  # a reload
        keeper, settings = int(os.environ["KEEPER_SOCKET_FD"]), int(os.environ["KEEPER_SETTINGS_FD"])
    else:
        settings, keeper = int(sys.argv[2]), int(sys.argv[4])
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(os.environ["FAKE_ADDRESS"])
        socket.send_fds(sock, [str(os.getpid()).encode()], [keeper, settings])
        os.close(keeper)
        return int(sock.recv(16) or b"0")


if __name__ == "__main__":
    sys.exit(main())
