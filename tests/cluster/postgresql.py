"""A PostgreSQL server for the records of a cluster."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.place import Place
from tests.cluster.service import Service

_ROOT = Path(__file__).parents[2]

_USER = 65534  # PostgreSQL refuses to run as root
_USED = "jobworker"


@contextlib.contextmanager
def running(place: Place, log: Path) -> Iterator[tuple[Service, str]]:
    """Start a server with an empty database, yield both, the database as its URL, and remove them."""
    programs = _programs()
    directory = Path(tempfile.mkdtemp(prefix="jobworker-postgresql-", dir="/tmp"))
    port = place.port(5432)
    try:
        os.chown(directory, _USER, _USER)
        data = directory / "data"
        create: list[str | Path] = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            _USED,
            "--auth=trust",
            "--no-sync",
            "-E",
            "UTF8",
        ]
        subprocess.run([*_as_user(), *create], check=True, capture_output=True, cwd=directory)
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.0.0.0/8 trust\n")
        options: list[str | Path] = ["-D", data, "-h", place.address, "-p", str(port), "-k", directory]
        argv: list[str | Path] = [*place.prefix, *_as_user(), programs / "postgres", *options]
        service = Service("postgresql", argv, log)
        try:
            service.start()
            yield service, f"postgresql://{_USED}@{place.address}:{port}/postgres"
        finally:
            service.stop()
    finally:
        shutil.rmtree(directory)


def _as_user() -> tuple[str | Path, ...]:
    return ("setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups")


def _programs() -> Path:
    found = subprocess.run([_ROOT / "tools/postgresql"], check=True, capture_output=True, text=True)
    return Path(found.stdout.strip())
