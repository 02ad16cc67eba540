"""A server and the environment that the pages tell their readers to set up."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from live import Server, make_certificates
from tests.docs.languages import RUNNERS
from tests.docs.playing import Session
from tests.interop.paths import BIN


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that all pages share."""
    certs = make_certificates(BIN, tmp_path_factory.mktemp("certs"))
    with Server.started(BIN, certs, tmp_path_factory.mktemp("state")) as started:
        yield started


@pytest.fixture
def session(server: Server, tmp_path: Path) -> Session:
    """A reader in an empty directory, with the commands in PATH."""
    return Session(
        tmp_path,
        {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "LANG": "C.UTF-8",
            "JOBWORKER_SERVER": server.address,
            "JOBWORKER_CERTS": str(server.certs),
            # The pages assume that the server is installed below /opt.
            "JOBWORKERD_CERTS_DIR": str(tmp_path / "certs"),
        },
        RUNNERS,
    )
