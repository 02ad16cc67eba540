"""The clients: how their drivers are built and started, and the capabilities that some lack."""

import contextlib
import enum
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from tests.interop.clients.buf_curl import BufCurl
from tests.interop.clients.command_line import CommandLineDriver
from tests.interop.clients.grpcurl import Grpcurl
from tests.interop.clients.pipe import PipeDriver
from tests.interop.driver import Connection, Driver
from tests.interop.paths import ROOT

Connect = Callable[[Connection], AbstractContextManager[Driver]]


class Capability(enum.Enum):
    """A feature of a client that goes beyond single calls."""

    RESUME = "resumes a broken stream"
    WATCH = "ends a watch when its jobs have ended"
    OWN_SCHEMA = "knows the API without the server's reflection"


@dataclass(frozen=True)
class ClientKind:
    """A client. `build` builds its driver in a directory and returns the function that starts the driver."""

    name: str
    build: Callable[[Path], Connect]
    unsupported: Mapping[Capability, str] = field(default_factory=dict)
    """The capabilities that the client lacks, with the reasons."""


def program(*argv: str, build: Sequence[str] = ()) -> Callable[[Path], Connect]:
    """Return a builder of a driver process.

    Both command lines run in the root of the checkout. `{directory}` is replaced by the build directory.
    """

    def build_driver(directory: Path) -> Connect:
        if build:
            subprocess.run([word.format(directory=directory) for word in build], cwd=ROOT, check=True)
        return lambda connection: PipeDriver.started(
            [word.format(directory=directory) for word in argv], connection
        )

    return build_driver


def command_line(make: Callable[[Connection, Path], CommandLineDriver]) -> Callable[[Path], Connect]:
    """Return a builder of a driver that runs a program per RPC."""

    @contextlib.contextmanager
    def connected(connection: Connection, directory: Path) -> Iterator[Driver]:
        yield make(connection, directory)

    return lambda directory: lambda connection: connected(connection, directory)


_GO = ("tools/go", "-C", "clients/go", "build", "-o", "{directory}/driver", "./internal/driver")
_TYPESCRIPT = ("tools/node", "npm", "--prefix", "clients/typescript", "run", "--silent", "build")
_GENERIC = {
    Capability.RESUME: "each run of the program is one call, so resuming would be another run",
    Capability.WATCH: "the program cannot end a stream after a message",
    Capability.OWN_SCHEMA: "the server refuses reflection, too, so the program cannot decode the error",
}

CLIENTS = (
    ClientKind("Python", program(sys.executable, "tests/interop/drivers/python_sync.py")),
    ClientKind("asyncio", program(sys.executable, "tests/interop/drivers/python_async.py")),
    ClientKind("Go", program("{directory}/driver", build=_GO)),
    ClientKind(
        "TypeScript",
        program("tools/node", "node", "clients/typescript/dist/test/driver.js", build=_TYPESCRIPT),
    ),
    ClientKind("grpcurl", command_line(lambda connection, _directory: Grpcurl(connection)), _GENERIC),
    ClientKind("buf curl", command_line(BufCurl), _GENERIC),
)
