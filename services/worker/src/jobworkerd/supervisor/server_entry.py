"""The entry of the server in the keeper: locks and the reserved port."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import msgspec

from jobworkerd.cgroup.hierarchy import OccupiedBase
from jobworkerd.keeper.client import HeldEntry, KeeperClient
from jobworkerd.keeper.wire import SERVER


class _State(msgspec.Struct, frozen=True):
    """`listen` is the setting, `address` has the real port. `base` is empty without cgroups."""

    listen: str
    address: str
    base: str
    origin: str


@dataclass(frozen=True)
class ServerEntry:
    """The resources that belong to the server and not to one of its supervisors."""

    state_lock: int
    port: socket.socket
    listen: str
    address: str
    base: OccupiedBase | None

    async def hold(self, keeper: KeeperClient) -> None:
        """Store duplicates of the descriptors in the keeper.

        Raises:
            OSError: the host is exhausted.
        """
        base = str(self.base.base) if self.base else ""
        origin = str(self.base.origin) if self.base else ""
        state = msgspec.msgpack.encode(_State(self.listen, self.address, base, origin))
        locks = [self.state_lock, self.base.lock] if self.base else [self.state_lock]
        await keeper.hold(SERVER, state, [self.port.fileno(), *locks], ())


def from_held(entry: HeldEntry) -> ServerEntry:
    """Return the resources of an earlier supervisor."""
    state = msgspec.msgpack.decode(entry.state(), type=_State)
    file, port, state_lock, *base_lock = entry.descriptors
    os.close(file)
    base = OccupiedBase(Path(state.base), base_lock[0], Path(state.origin)) if base_lock else None
    return ServerEntry(state_lock, socket.socket(fileno=port), state.listen, state.address, base)
