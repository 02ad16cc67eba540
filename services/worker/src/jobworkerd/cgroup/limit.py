"""The description of one limit: the controller that enforces it and the control files that hold it.

Each controller's module describes its limits. `limits` collects them in one table.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jobworkerd.cgroup import files
from jobworkerd.model import AppliedLimit, Limits


@dataclass(frozen=True)
class OptionalFile:
    """A control file that a kernel can lack although it has the controller.

    `sibling` is a file of the same controller that every kernel has. `missing` is the reason for the record.
    """

    name: str
    sibling: str
    missing: str


@dataclass(frozen=True)
class Limit:
    """A limit of a job. `name` is the name of its field in `model.Limits` and of its entry in the record.

    `setter` writes the limit's files, reads them back and returns the result; it may raise OSError.
    `shown_by` is the file that shows the effective value, if it is not the file that is written.
    `companions` are further files of the limit and their values. `own_part` extracts the limit's part from
    the text of a file that several limits share.
    """

    name: str
    controller: str
    setter: Callable[[Path, Limits, Sequence[Path]], AppliedLimit]
    optional_file: OptionalFile | None = None
    shown_by: str = ""
    companions: Mapping[str, str] = field(default_factory=dict)
    own_part: Callable[[str], str] = str

    def apply(self, cgroup: Path, limits: Limits, io_paths: Sequence[Path] = ()) -> AppliedLimit:
        """Set the limit, or lift it if it is unlimited, and return the value that the kernel holds.

        Raises:
            OSError: the kernel refused the value.
        """
        return self.setter(cgroup, limits, io_paths)


def file_limit(name: str, controller: str, file: str, encode: Callable[[Limits], str | int]) -> Limit:
    """Return a limit that consists of one file, which shows exactly the value that was set."""

    def set_file(cgroup: Path, limits: Limits, _io_paths: Sequence[Path]) -> AppliedLimit:
        return files.set_and_read_back(cgroup, name, file, encode(limits))

    return Limit(name, controller, set_file)
