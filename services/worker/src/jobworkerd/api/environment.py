"""What must be settled before the libraries are imported.

gRPC has no option for the oldest version of TLS that a server accepts. Its list of cipher suites, which is
for TLS 1.2 only, serves instead: the one suite in it needs a pre-shared key, and neither side has one. So a
TLS 1.2 handshake fails whatever the server's key is. The suites of TLS 1.3 cannot be chosen.

The list is also in force for an OTLP exporter: a collector behind TLS has to support TLS 1.3.
"""

import os
import sys

_CIPHER_SUITES = "ECDHE-PSK-AES128-CBC-SHA"


def prepare() -> None:
    """Sets up the environment of gRPC and structlog; to be called before either is imported."""
    os.environ["GRPC_SSL_CIPHER_SUITES"] = _CIPHER_SUITES
    # gRPC's C core writes to stderr itself: its lines are not events, bypass the log's buffer and could wait
    # for the reader of a socket such as journald's. What they say is reported otherwise.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # structlog would import rich wherever it finds it: 150 ms for colours in tracebacks. To the import
    # system (docs.python.org, "The module cache") None means that there is no such module.
    sys.modules["rich"] = None  # type: ignore[assignment]
