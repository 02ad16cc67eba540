"""The namespaces that jobs can have, namespaces(7)."""

from typing import NamedTuple


class Namespace(NamedTuple):
    """A kind of namespace: name in the configuration, flag of unshare(2), file in /proc/PID/ns."""

    name: str
    flag: int
    proc_file: str


# include/uapi/linux/sched.h
MOUNT = Namespace("mount", 0x00020000, "mnt")
UTS = Namespace("uts", 0x04000000, "uts")
IPC = Namespace("ipc", 0x08000000, "ipc")
PID = Namespace("pid", 0x20000000, "pid")
NETWORK = Namespace("network", 0x40000000, "net")

CONFIGURABLE = (MOUNT, UTS, IPC, PID)
"""The namespaces that the configuration can switch off, in the order in which a spare process enters them."""

BY_NAME = {each.name: each for each in CONFIGURABLE}
