"""`python -m jobworkerd.api --config-fd N --socket-fd M`: what the supervisor starts."""

import argparse
import os
import socket
import sys

from jobworkerd.config import from_json

_ECDSA_ONLY = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
"""gRPC has no setting for the least TLS version. But TLS 1.2 takes its cipher from this list, and none
in it fits the server's RSA key, so a TLS 1.2 handshake fails; TLS 1.3 has ciphers of its own.
"""


def main() -> int:
    """Reads the settings from one descriptor, and serves for the supervisor at the other."""
    parser = argparse.ArgumentParser(prog="jobworkerd.api")
    parser.add_argument("--config-fd", type=int, required=True)
    parser.add_argument("--socket-fd", type=int, required=True)
    options = parser.parse_args()
    with os.fdopen(options.config_fd, "rb") as file:
        file.seek(0)
        config = from_json(file.read())
    os.environ["GRPC_SSL_CIPHER_SUITES"] = _ECDSA_ONLY
    from jobworkerd.api.main import run

    return run(config, socket.socket(fileno=options.socket_fd))


if __name__ == "__main__":
    sys.exit(main())
