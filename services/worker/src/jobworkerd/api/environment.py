"""What must be settled before the libraries are imported.

gRPC has no switch for the least version of TLS that a server takes. Its list of cipher suites takes the
place of one: those named here are all of TLS 1.2's that are left, and none of them fits a certificate
with an RSA key, as `jobworkerd certs` makes them, while the suites of TLS 1.3 are not up for choice. Should
the key be another one, `identity` refuses what is not TLS 1.3.
"""

import os
import sys

_CIPHER_SUITES = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"


def prepare() -> None:
    """Sets up the environment of gRPC and structlog; to be called before either is imported."""
    os.environ["GRPC_SSL_CIPHER_SUITES"] = _CIPHER_SUITES
    # gRPC's C core writes to stderr itself: its lines are not events, bypass the log's buffer and could wait
    # for the reader of a socket such as journald's. What they say is reported otherwise.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # structlog would import rich wherever it finds it: 150 ms for colours in tracebacks. To the import
    # system (docs.python.org, "The module cache") None means that there is no such module.
    sys.modules["rich"] = None  # type: ignore[assignment]
