"""The entry of the server in the keeper: locks and reserved ports."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec.structs import replace

from jobworkerd.cgroup.hierarchy import OccupiedBase
from jobworkerd.keeper.client import HeldEntry, KeeperClient
from jobworkerd.keeper.wire import SERVER
from jobworkerd.supervisor.port import ReservedPort


class _State(msgspec.Struct, frozen=True):
    """`listen` is the setting, `address` has the real port. `base` is empty without cgroups, and the
    addresses for metrics are empty without an endpoint.
    """

    listen: str
    address: str
    base: str
    origin: str
    metrics_listen: str = ""
    metrics_address: str = ""


@dataclass(frozen=True)
class ServerEntry:
    """The resources that belong to the server and not to one of its supervisors."""

    state_lock: int
    port: ReservedPort
    metrics_port: ReservedPort | None
    base: OccupiedBase | None

    async def hold(self, keeper: KeeperClient) -> None:
        """Store duplicates of the descriptors in the keeper.

        Raises:
            OSError: the host is exhausted.
        """
        base = str(self.base.base) if self.base else ""
        origin = str(self.base.origin) if self.base else ""
        state = _State(self.port.listen, self.port.address, base, origin)
        descriptors = [self.port.sock.fileno(), self.state_lock]
        if self.base:
            descriptors.append(self.base.lock)
        if metrics := self.metrics_port:
            state = replace(state, metrics_listen=metrics.listen, metrics_address=metrics.address)
            descriptors.append(metrics.sock.fileno())
        await keeper.hold(SERVER, msgspec.msgpack.encode(state), descriptors, ())


def from_held(entry: HeldEntry) -> ServerEntry:
    """Return the resources of an earlier supervisor."""
    state = msgspec.msgpack.decode(entry.state(), type=_State)
    file, port, state_lock, *more = entry.descriptors
    os.close(file)
    base = OccupiedBase(Path(state.base), more.pop(0), Path(state.origin)) if state.base else None
    metrics = _port(more.pop(0), state.metrics_listen, state.metrics_address) if more else None
    return ServerEntry(state_lock, _port(port, state.listen, state.address), metrics, base)


def _port(descriptor: int, listen: str, address: str) -> ReservedPort:
    return ReservedPort(socket.socket(fileno=descriptor), listen, address)
