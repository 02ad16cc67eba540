"""Bytes of a log without a record."""

from pathlib import Path

from tests.soak.faults.log_files import lacks_record
from tests.unit.logs.stores import ERR, OUT, store

ID = "0198a000-0000-7000-8000-000000000000"


def test_bytes_without_a_record_are_found(tmp_path: Path) -> None:
    directory = tmp_path / ID
    with store(tmp_path) as logs:
        log = logs.open(ID)
        assert not lacks_record(directory)
        for number in range(300):
            log.append((OUT, ERR)[number % 2], memoryview(b"some output"), number)
            assert not lacks_record(directory)
        with (directory / "output.log").open("ab") as file:
            file.write(b"x")
        assert lacks_record(directory)
