"""The operations that a supervisor requests from the keeper; see `wire`."""

import errno
import os
from collections.abc import Callable
from typing import TypeAlias

from jobworkerd.keeper import children
from jobworkerd.keeper.children import Discarded
from jobworkerd.keeper.connection import Connection
from jobworkerd.keeper.table import Table
from jobworkerd.keeper.wire import Packet

Result: TypeAlias = tuple[list[object], list[int]]
"""The words of an answer, and the descriptors that it carries."""


class Operations:
    """Executes requests. Each request gets exactly one answer."""

    def __init__(
        self, table: Table, discarded: Discarded, on_event: Callable[[Connection, str, str], None]
    ) -> None:
        """`on_event` is called for the operations that change the state of a supervisor."""
        self._table = table
        self._discarded = discarded
        self._on_event = on_event

    def execute(self, connection: Connection, packet: Packet) -> None:
        """Execute one request and answer it."""
        number, operation, *arguments = packet.words
        try:
            if operation == "discard":
                self._discard(connection, number, int(arguments[0]))
                return
            words, descriptors = self._result(connection, operation, arguments, packet)
        except OSError as error:
            words, descriptors = [error.errno or errno.EIO], []
        except (ValueError, IndexError):
            words, descriptors = [errno.EINVAL], []
        finally:
            packet.close()
        connection.send([number, *words], descriptors)

    def _discard(self, connection: Connection, number: str, target: int) -> None:
        self._discarded.add(target, lambda: connection.send([number, 0]))

    def _result(self, connection: Connection, operation: str, arguments: list[str], packet: Packet) -> Result:
        if packet.truncated:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        match operation, arguments:
            case "hold", [key]:
                self._table.hold(key, list(packet.descriptors))
                packet.descriptors.clear()  # the table owns them now
            case "release", [key]:
                self._table.release(key)
            case "entry", [index]:
                return self._entry(int(index))
            case "spawn", [_, *_]:
                return [0, children.spawn(arguments, packet.descriptors)], []
            case "status", [pid]:
                return [0, children.wait_status(int(pid))], []
            case "prepared", [_] if packet.descriptors:
                connection.settings = packet.descriptors.pop()
                self._on_event(connection, operation, arguments[0])
            case ("listening" | "ready" | "end", []) | ("notify", [_]):
                self._on_event(connection, operation, "".join(arguments))
            case _:
                raise ValueError(operation)
        return [0], []

    def _entry(self, index: int) -> Result:
        found = self._table.at(index)
        if found is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return [0, found[0]], found[1]
