"""The files that `run` copies to its job, before the command, and back, after it."""

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence

import typer

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cli.errors import describe_os_error
from jobworker_cli.files.pack import Archive
from jobworker_cli.files.paths import Download, Upload, parse_download, parse_upload
from jobworker_cli.files.progress import Progress
from jobworker_cli.files.receive import Receiver
from jobworker_cli.files.script import VARIABLE, new_token, script
from jobworker_cli.stream.follow import Write

__all__ = ["Transfer", "parse_transfer"]

UPLOAD, DOWNLOAD = "--upload", "--download"


class Transfer:
    """The uploads and downloads of one job."""

    def __init__(self, uploads: Sequence[tuple[Upload, Archive]], downloads: Sequence[Download]) -> None:
        self._uploads = uploads
        self._downloads = downloads
        self._token = new_token()

    def wrap(self, request: job_service_pb2.CreateJobRequest) -> None:
        """Let the job run a script that copies the files, and that runs the command of the request."""
        uploads = [(upload, archive.blocks) for upload, archive in self._uploads]
        text = script(self._token, uploads, self._downloads)
        request.args[:] = ["-c", f'eval "${VARIABLE}"', "jobworker", request.command, *request.args]
        request.command = "sh"
        request.env[VARIABLE] = text
        if self._uploads:
            request.stdin = job_pb2.JOB_STDIN_ONCE

    def stdin(self, rest: AsyncIterable[bytes] | None) -> AsyncIterable[bytes] | None:
        """Return the stdin of the job: the uploads, and what the command reads; None for no stdin."""
        return self._stdin(rest) if self._uploads else rest

    async def _stdin(self, rest: AsyncIterable[bytes] | None) -> AsyncIterator[bytes]:
        for upload, archive in self._uploads:
            progress = Progress(f"uploading {upload.source}", archive.size)
            with contextlib.closing(progress):
                pieces = archive.read()
                while (data := await asyncio.to_thread(next, pieces, None)) is not None:
                    yield data
                    progress.add(len(data))
        if rest is not None:
            async for data in rest:
                yield data

    def receiver(self, write: Write) -> Receiver:
        """Return the writer for the output of the job, which takes the downloads out of it."""
        return Receiver(self._token, self._downloads, write)


def parse_transfer(uploads: Sequence[str], downloads: Sequence[str]) -> Transfer | None:
    """Parse the values of the options, and find the local files; None without a value.

    Raises:
        BadParameter: a value is invalid, a local file cannot be read, or a destination exists.
    """
    if not uploads and not downloads:
        return None
    sources = [_upload(text) for text in uploads]
    targets = [_download(text) for text in downloads]
    _check_different(targets)
    return Transfer(sources, targets)


def _upload(text: str) -> tuple[Upload, Archive]:
    with _invalid_values(UPLOAD):
        upload = parse_upload(text)
        return upload, Archive(upload.source, upload.name)


def _download(text: str) -> Download:
    with _invalid_values(DOWNLOAD):
        download = parse_download(text)
        download.destination.parent.mkdir(parents=True, exist_ok=True)
        if download.destination.is_dir():
            raise ValueError(f"{download.destination} exists; remove the directory, or use PATH:DEST")
        return download


def _check_different(downloads: Sequence[Download]) -> None:
    with _invalid_values(DOWNLOAD):
        destinations = [download.destination for download in downloads]
        for destination in destinations:
            if destinations.count(destination) > 1:
                raise ValueError(f"several downloads have the destination {destination}; use PATH:DEST")


@contextlib.contextmanager
def _invalid_values(option: str) -> Iterator[None]:
    """Report an error as an invalid value of an option."""
    try:
        yield
    except OSError as error:
        raise typer.BadParameter(describe_os_error(error), param_hint=option) from None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
