"""Prepares the environment before libraries are imported.

gRPC has no option for the minimum version of TLS. Its list of cipher suites affects only TLS 1.2. The only
suite in the list needs a pre-shared key, which neither side has, so every TLS 1.2 handshake fails. The
suites of TLS 1.3 cannot be configured.

The list also affects OTLP exporters: a collector with TLS must support TLS 1.3.
"""

import os
import sys

_CIPHER_SUITES = "ECDHE-PSK-AES128-CBC-SHA"


def prepare() -> None:
    """Set up the environment of gRPC and structlog. It must be called before they are imported."""
    os.environ["GRPC_SSL_CIPHER_SUITES"] = _CIPHER_SUITES
    # The C core of gRPC writes to stderr directly. These lines are not JSON, bypass the buffer of the log,
    # and can block on a socket such as that of journald. The server reports their content in other ways.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # structlog imports rich if it is installed, which takes 150 ms. In sys.modules, None means that the
    # module does not exist (docs.python.org, "The module cache").
    sys.modules["rich"] = None  # type: ignore[assignment]
