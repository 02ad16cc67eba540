"""The directory of an ended log."""

import contextlib
from pathlib import Path

from jobworkerd.logs.files import open_files
from jobworkerd.logs.format import data_file, index_file
from jobworkerd.logs.retention import extent_of


def stored_bytes(directory: Path) -> int:
    """Return the space of an ended log; 0 if it does not exist."""
    try:
        with open_files(directory) as files:
            return extent_of(files).stored
    except FileNotFoundError:
        return 0
    except OSError:  # without a free descriptor, a close estimate
        return sum(file.stat().st_blocks * 512 for file in (data_file(directory), index_file(directory)))


def remove_log(directory: Path) -> None:
    """Remove the files of a log and its directory. This needs no descriptor.

    Raises:
        OSError: the disk failed.
    """
    with contextlib.suppress(FileNotFoundError):
        for file in (data_file(directory), index_file(directory)):
            file.unlink(missing_ok=True)
        directory.rmdir()
