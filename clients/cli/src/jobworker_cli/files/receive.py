"""Receive the downloads of a job, which are parts of its stdout."""

import asyncio
import hashlib
import tarfile
import tempfile
from collections.abc import Sequence

from jobworker.v1 import job_output_pb2
from jobworker_cli.errors import describe_os_error
from jobworker_cli.files.paths import Download
from jobworker_cli.files.progress import Progress
from jobworker_cli.files.script import Mark, MarkSplitter
from jobworker_cli.files.unpack import unpack
from jobworker_cli.stream.follow import Write
from jobworker_cli.stream.messages import Source, joined_message
from jobworker_client import Chunk, source_runs

__all__ = ["Receiver"]

STDOUT = job_output_pb2.OUTPUT_SOURCE_STDOUT


class _Incoming:
    """The archive of one download, in a file without a name next to the destination."""

    def __init__(self, download: Download, *, directory: bool) -> None:
        self._download = download
        self._directory = directory
        self._file = tempfile.TemporaryFile(dir=download.destination.parent)  # noqa: SIM115 - until `close`
        self._hash = hashlib.sha256()
        self._status = ""
        self._progress = Progress(f"downloading {download.path}")

    def add(self, data: bytes) -> None:
        """Store a part of the archive."""
        self._hash.update(data)
        self._file.write(data)
        self._progress.add(len(data))

    def packed(self, mark: Mark, status: str) -> None:
        """Note the exit status of tar. The checksum covers its mark."""
        self._hash.update(mark.line)
        self._status = status

    def unpack(self, checksum: str) -> None:
        """Unpack the archive at the destination.

        Raises:
            ValueError: the archive is not what the job has packed, or it is unsafe.
            OSError: a file cannot be written.
        """
        if self._status != "0":
            raise ValueError(f"tar exited with {self._status or 'an unknown status'} in the job")
        if checksum != self._hash.hexdigest():
            raise ValueError(
                "the archive is damaged; a process that outlived the command wrote to stdout, or the job has "
                "no sha256sum"
            )
        self._file.seek(0)
        try:
            unpack(self._file, self._download.destination, directory=self._directory)
        except (tarfile.TarError, OverflowError, MemoryError) as error:
            raise ValueError(f"the archive is invalid: {str(error) or type(error).__name__}") from error

    def close(self) -> None:
        """Remove the archive."""
        self._progress.close()
        self._file.close()


class Receiver:
    """Takes the downloads and the marks out of the output of a job, and passes the rest on."""

    def __init__(self, token: str, downloads: Sequence[Download], write: Write) -> None:
        self._started = False
        self._downloads = downloads
        self._problems: dict[int, str] = {}
        """A text for the number of each download that has ended: empty if it is complete."""
        self._splitter = MarkSplitter(token)
        self._write = write
        self._in_archive = False
        self._number = 0
        """The number of the current download."""
        self._incoming: _Incoming | None = None
        """The archive that is being received; None also if it has failed."""
        self._offset = 0

    async def write(self, message: Chunk) -> None:
        """Process a message of the stream.

        Raises:
            OSError: the output cannot be written.
        """
        if message.offset != self._offset and self._incoming:
            count = message.offset - self._offset
            self._end(
                f"the server has trimmed {count} bytes of the archive; increase log.max_bytes on the server"
            )
        self._offset = message.next_offset
        passed: list[tuple[Source, bytes]] = []
        for source, data in source_runs(message):
            parts = self._splitter.feed(data) if source == STDOUT else [data]
            for part in parts:
                if isinstance(part, Mark):
                    await self._process(part)
                elif not self._in_archive or source != STDOUT:
                    passed.append((source, part))
                elif self._incoming:
                    await asyncio.to_thread(self._add, self._incoming, part)
        if passed:
            await self._write(joined_message(passed))

    async def finish(self) -> list[str]:
        """Write the rest of the output; return the problems, one per incomplete download.

        Raises:
            OSError: the output cannot be written.
        """
        rest = self._splitter.rest()
        if rest and not self._in_archive:
            await self._write(joined_message([(STDOUT, rest)]))
        if self._incoming:
            self._end("the job ended before the archive was complete")
        if not self._started:
            return [
                "the job ended before its command could run; uploads need room in --scratch and --max-memory"
            ]
        problems = [
            self._problems.get(number, "the job ended before it was packed")
            for number in range(len(self._downloads))
        ]
        return [
            f"--download {download.path}: {problem}"
            for download, problem in zip(self._downloads, problems, strict=True)
            if problem
        ]

    def close(self) -> None:
        """Remove the current archive."""
        if self._incoming:
            self._incoming.close()
            self._incoming = None

    async def _process(self, mark: Mark) -> None:
        match mark.words:
            case ["started"]:
                self._started = True
            case ["missing", number] if self._is_expected(number):
                self._number = int(number)
                self._end("the job has no such file or directory")
            case ["begin", number, kind] if self._is_expected(number):
                self._number = int(number)
                self._begin(directory=kind == "directory")
            case ["packed", status] if self._incoming:
                self._incoming.packed(mark, status)
            case ["end", checksum, *_]:
                self._in_archive = False
                if self._incoming:
                    await asyncio.to_thread(self._unpack, self._incoming, checksum)

    def _is_expected(self, number: str) -> bool:
        """Tell whether a download with this number can begin."""
        return (
            self._incoming is None
            and number in map(str, range(len(self._downloads)))
            and int(number) not in self._problems
        )

    def _begin(self, *, directory: bool) -> None:
        self._in_archive = True
        try:
            self._incoming = _Incoming(self._downloads[self._number], directory=directory)
        except OSError as error:
            self._end(_reason(error))

    def _add(self, incoming: _Incoming, data: bytes) -> None:
        try:
            incoming.add(data)
        except OSError as error:
            self._end(_reason(error))

    def _unpack(self, incoming: _Incoming, checksum: str) -> None:
        try:
            incoming.unpack(checksum)
        except (ValueError, OSError) as error:
            self._end(_reason(error))
        else:
            self._end("")

    def _end(self, problem: str) -> None:
        """Note the result of the current download."""
        self._problems[self._number] = problem
        self.close()


def _reason(error: ValueError | OSError) -> str:
    return describe_os_error(error) if isinstance(error, OSError) else str(error)
