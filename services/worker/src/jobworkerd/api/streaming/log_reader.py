"""Reads a log as serialized messages for one client."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from jobworkerd.api.streaming.encoding import Encoded, encode
from jobworkerd.api.streaming.message_cache import MessageCache, Range, Sources
from jobworkerd.logs.cursor import Gap, LogCursor, Skipped, open_cursor
from jobworkerd.logs.format import data_file


class LogReader:
    """A position in the log of a job. The context manager keeps the files open.

    Messages of other readers come from the cache. Messages end at multiples of their size, so readers with
    different start offsets soon share them.
    """

    def __init__(
        self, run: tuple[str, str], directory: Path, cache: MessageCache, offset: int, sources: Sources
    ) -> None:
        self.offset = offset
        self._run = run
        self._directory = directory
        self._cache = cache
        self._sources = sources
        self._files = ExitStack()
        self._cursor: LogCursor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()

    def read(self, end: int, size: int) -> Encoded | None:
        """Return the next message before `end`, and move to its end.

        A message has at most `size` bytes of payload. The result is None if the bytes are of the other
        source.

        Raises:
            FileNotFoundError: the log does not exist or was removed.
        """
        limit = min(end, (self.offset // size + 1) * size)
        wanted = Range(self._run, self.offset, limit, self._sources)
        message = self._cache.get(wanted)
        if message is None:
            piece = self._at_offset().read(end, size, self._sources.only, mixed=self._sources.mixed)
            if isinstance(piece, Skipped):
                self.offset = piece.end
                return None
            if isinstance(piece, Gap) and not data_file(self._directory).exists():
                # The supervisor truncates the files of a removed log, which are still open here.
                raise FileNotFoundError(self._directory)
            message = encode(piece)
            # A gap can grow before the next reader reads it.
            if not isinstance(piece, Gap):
                self._cache.put(wanted, message)
        self.offset = message.end
        return message

    def _at_offset(self) -> LogCursor:
        """Return the cursor at the current offset. Messages from the cache do not move it."""
        if self._cursor is None:
            self._cursor = self._files.enter_context(open_cursor(self._directory, self.offset))
        self._cursor.offset = self.offset
        return self._cursor
