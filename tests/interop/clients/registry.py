"""The clients that the scenarios are run with, how their drivers are made, and what some cannot do."""

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
from tests.interop.places import ROOT

Connect = Callable[[Connection], AbstractContextManager[Driver]]


class Ability(enum.Enum):
    """Something that a client does on top of single calls."""

    RESUME = "takes up a stream that broke"


@dataclass(frozen=True)
class ClientKind:
    """One way to call the server. `prepare` makes its driver, in a folder, and returns how to connect it."""

    name: str
    prepare: Callable[[Path], Connect]
    lacks: Mapping[Ability, str] = field(default_factory=dict)
    """What it cannot do, and why."""


def program(*argv: str, build: Sequence[str] = ()) -> Callable[[Path], Connect]:
    """A driver that is a program, and how it is built; `{folder}` stands for a folder to build it in.

    Both command lines are relative to the root of the checkout.
    """

    def prepare(folder: Path) -> Connect:
        if build:
            subprocess.run([word.format(folder=folder) for word in build], cwd=ROOT, check=True)
        return lambda connection: PipeDriver.started(
            [word.format(folder=folder) for word in argv], connection
        )

    return prepare


def command_line(make: Callable[[Connection, Path], CommandLineDriver]) -> Callable[[Path], Connect]:
    """A program that is run once an RPC."""

    @contextlib.contextmanager
    def connected(connection: Connection, folder: Path) -> Iterator[Driver]:
        yield make(connection, folder)

    return lambda folder: lambda connection: connected(connection, folder)


_GO = ("tools/go", "-C", "clients/go", "build", "-o", "{folder}/driver", "./internal/driver")
_TYPESCRIPT = ("tools/node", "npm", "--prefix", "clients/typescript", "run", "--silent", "build")
_ONE_CALL = {Ability.RESUME: "a run of the program is one call: going on from an offset is another run"}

CLIENTS = (
    ClientKind("Python", program(sys.executable, "tests/interop/drivers/python_sync.py")),
    ClientKind("asyncio", program(sys.executable, "tests/interop/drivers/python_async.py")),
    ClientKind("Go", program("{folder}/driver", build=_GO)),
    ClientKind(
        "TypeScript",
        program("tools/node", "node", "clients/typescript/dist/test/driver.js", build=_TYPESCRIPT),
    ),
    ClientKind("grpcurl", command_line(lambda connection, _folder: Grpcurl(connection)), _ONE_CALL),
    ClientKind("buf curl", command_line(BufCurl), _ONE_CALL),
)
