"""One reader's way through a log, as messages that are ready to be sent."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from jobworkerd.api.streaming.encoding import Encoded, encode
from jobworkerd.api.streaming.message_cache import MessageCache, Range, Sources
from jobworkerd.logs.cursor import Gap, LogCursor, Passed, open_cursor


class LogReader:
    """A position in a job's log; a context manager that holds files while it reads them.

    What another reader has been sent is taken from the cache. Messages end at multiples of their size,
    so readers that began at different offsets come to ask for the same ones.
    """

    def __init__(
        self, job_id: str, directory: Path, cache: MessageCache, offset: int, sources: Sources
    ) -> None:
        self.offset = offset
        self._job_id = job_id
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
        """Moves on towards `end`, which is ahead, and returns the message of what was passed.

        A message has at most `size` bytes of payload. None: what was passed is of the other source.

        Raises:
            FileNotFoundError: there is no log (any more).
            LogCorrupt: the files are not what the writer left.
        """
        limit = min(end, (self.offset // size + 1) * size)
        wanted = Range(self._job_id, self.offset, limit, self._sources)
        message = self._cache.get(wanted)
        if message is None:
            piece = self._at_offset().read(end, size, self._sources.only, mixed=self._sources.mixed)
            if isinstance(piece, Passed):
                self.offset = piece.end
                return None
            message = encode(piece)
            # A gap may be larger by the time that the next reader comes.
            if not isinstance(piece, Gap):
                self._cache.put(wanted, message)
        self.offset = message.end
        return message

    def _at_offset(self) -> LogCursor:
        """Returns the cursor, which stands here: messages from the cache have left it behind."""
        if self._cursor is None:
            self._cursor = self._files.enter_context(open_cursor(self._directory, self.offset))
        self._cursor.offset = self.offset
        return self._cursor
