"""The server's settings: names, types, defaults and bounds.

Sources, in order of precedence: flags, environment (`JOBWORKERD_…`), TOML file, the defaults in this module.
The package `settings` reads the sources. A `description` states the accepted values for users; without one,
the bounds are stated.
"""

import ipaddress
import os
import re
from typing import Annotated, Literal

import msgspec

from jobworkerd.host_names import is_host_name
from jobworkerd.limit_bounds import LIMIT_BOUNDS, MAX_SCRATCH
from jobworkerd.model import Limits, LimitsPolicy, Network
from jobworkerd.quotas import QuotaConfig, Rate

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
AbsolutePath = Annotated[str, msgspec.Meta(pattern=r"^/[^\x00]*$", description="an absolute path")]
Listen = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^\x00-\x20]+:[0-9]+$",
        description="HOST:PORT or [IPV6]:PORT with a port from 0 to 65535 (0: any free one)",
    ),
]

MetricsListen = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([^\x00-\x20]+:[0-9]+)?$",
        description="HOST:PORT or [IPV6]:PORT with a port from 0 to 65535, or empty for no endpoint",
    ),
]

_DOTTED_NUMBERS = re.compile(r"[0-9.]+")


class RequestDefaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values for jobs whose requests do not set their own; units as in `model.Limits`."""

    max_cpu: Annotated[int, msgspec.Meta(ge=1, le=LIMIT_BOUNDS["max_cpu"].maximum)] = 10
    max_memory: Annotated[int, msgspec.Meta(ge=1, le=LIMIT_BOUNDS["max_memory"].maximum)] = 1
    max_io_bps: Annotated[int, msgspec.Meta(ge=0, le=LIMIT_BOUNDS["max_io_bps"].maximum)] = 0
    max_io_iops: Annotated[int, msgspec.Meta(ge=0, le=LIMIT_BOUNDS["max_io_iops"].maximum)] = 0
    max_pids: Annotated[int, msgspec.Meta(ge=0, le=LIMIT_BOUNDS["max_pids"].maximum)] = 1024
    stop_grace_period: Seconds = 10.0
    limits_policy: LimitsPolicy = LimitsPolicy.BEST_EFFORT

    @property
    def limits(self) -> Limits:
        """Only the limits."""
        return Limits(
            max_cpu=self.max_cpu,
            max_memory=self.max_memory,
            max_io_bps=self.max_io_bps,
            max_io_iops=self.max_io_iops,
            max_pids=self.max_pids,
        )


class Defaults(RequestDefaults, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The defaults of a host.

    `open_files` and `max_open_files` are the soft and the hard RLIMIT_NOFILE of each process (getrlimit(2)).
    """

    open_files: Annotated[int, msgspec.Meta(ge=16, le=2**30)] = 1_024
    max_open_files: Annotated[int, msgspec.Meta(ge=16, le=2**30)] = 524_288


Processes = Annotated[
    Annotated[int, msgspec.Meta(ge=1, le=64)] | Literal["auto"],
    msgspec.Meta(description="a whole number from 1 to 64, or auto"),
]


ApiUser = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z_][A-Za-z0-9_.@-]{0,255}\$?$", description="dynamic, or the name of a user"
    ),
]


class ApiConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the API processes.

    `user`: user of the processes if the server is root; `dynamic` is a UID that no account uses.
    `processes`: number of processes; `auto` is one per core that the server can use.
    `keepalive`: seconds without traffic before the server pings a client, which has 10 s to answer.
    `max_connections`: bound on the connections of each process, in addition to half of its RLIMIT_NOFILE.
    `max_concurrent_rpcs`: bound on the RPCs in progress in each process; 0 = not bounded.
    """

    user: ApiUser = "dynamic"
    processes: Processes = 1
    reflection: bool = True
    keepalive: Annotated[int, msgspec.Meta(ge=10, le=3_600)] = 30
    max_connections: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 4_096
    max_concurrent_rpcs: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 8_192

    @property
    def process_count(self) -> int:
        """Number of API processes on this host."""
        return len(os.sched_getaffinity(0)) if self.processes == "auto" else self.processes


class LogConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the jobs' output.

    `max_bytes` and `max_total_bytes` bound the disk space of one log and of all logs, including their
    indexes. Each index can take 8 KiB more. Beyond the bound the oldest output is trimmed. `chunk_bytes`
    bounds one message of a stream. `stall_timeout`: seconds that a reader can take nothing while output is
    pending.
    """

    max_bytes: Annotated[int, msgspec.Meta(ge=65_536, le=2**60)] = 4 * 2**30
    max_total_bytes: Annotated[int, msgspec.Meta(ge=65_536, le=2**60)] = 16 * 2**30
    chunk_bytes: Annotated[int, msgspec.Meta(ge=4_096, le=2_097_152)] = 262_144
    stall_timeout: Annotated[float, msgspec.Meta(gt=0, le=3_600)] = 5.0


class MemoryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the jobs' memory.

    `high_patience`: seconds of continuous throttling by `memory.high` before the server lifts it; 0 never
    lifts it.
    """

    high_patience: Seconds = 3.0


class IoConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Block devices with I/O limits, in addition to the device of a job's working directory.

    `devices` are device files (`/dev/nvme0n1`) or directories, which represent their devices.
    """

    devices: tuple[AbsolutePath, ...] = ()


RunAs = Annotated[
    str, msgspec.Meta(pattern=r"^[a-zA-Z0-9._-]+$", description="dynamic, server or the name of a user")
]


SystemCall = Annotated[
    str, msgspec.Meta(pattern=r"^[a-z0-9_]+$", description="the name of a system call, as in syscalls(2)")
]


DevicePath = Annotated[
    str, msgspec.Meta(pattern=r"^/dev/(?!.*\.\.)[^\x00]+$", description="an absolute path below /dev")
]


class IsolationConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Isolation of jobs from the host and from each other.

    `run_as`: `dynamic` (a dedicated user per job, `uid_count` UIDs from `first_uid` on), the name of a user,
    or `server` (the user of the server). The namespaces are described in namespaces(7).

    With a mount namespace the system is read-only except for `writable_paths`, and the server's directories
    are masked. A job has a private home, /tmp, /var/tmp and /dev/shm (see `ScratchConfig`). Its /dev has the
    usual devices and, in addition, the `devices` of the host.

    `no_new_privileges` also removes all capabilities. `seccomp` refuses the system calls of administrators,
    except those in `seccomp_allow`; it requires `no_new_privileges`. `network` applies to jobs whose
    requests do not name one. `nice` is the value of nice(1).
    """

    run_as: RunAs = "dynamic"
    first_uid: Annotated[int, msgspec.Meta(ge=1_000, le=2**31 - 2)] = 1_900_000_000
    uid_count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 100_000
    pid_namespace: bool = True
    mount_namespace: bool = True
    ipc_namespace: bool = True
    uts_namespace: bool = True
    no_new_privileges: bool = True
    seccomp: bool = True
    seccomp_allow: tuple[SystemCall, ...] = ()
    network: Network = Network.HOST
    writable_paths: tuple[AbsolutePath, ...] = ()
    devices: tuple[DevicePath, ...] = ()
    nice: Annotated[int, msgspec.Meta(ge=0, le=19)] = 5


ScratchDirectory = Annotated[
    str, msgspec.Meta(pattern=r"^(/[^\x00]*)?$", description="an absolute path, or empty for memory")
]


class ScratchConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The private directories of a job: their place, and the bounds on all of them together, in MiB.

    `directory` is on a file system with project quotas; empty = in memory. `default` is for jobs whose
    requests do not set their own. `max` bounds the requests; 0 = not bounded.
    """

    directory: ScratchDirectory = ""
    default: Annotated[int, msgspec.Meta(ge=1, le=MAX_SCRATCH)] = 256
    max: Annotated[int, msgspec.Meta(ge=0, le=MAX_SCRATCH)] = 0

    def excess(self, wanted: int) -> str:
        """Return an error message for a size above `max`, else an empty string."""
        if not self.max or wanted <= self.max:
            return ""
        return f"{wanted} is above scratch.max of the server; use at most {self.max}"


class LoggingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The server's own log on stderr. `auto` is `console` on a terminal and `json` otherwise."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class MetricsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the Prometheus endpoint.

    `listen`: its address; empty = no endpoint. Clients need a certificate unless the address is loopback.
    """

    listen: MetricsListen = ""

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this host can connect. A host name other than localhost does not count."""
        host, _ = listen_address(self.listen)
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


class StateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the job records.

    `synchronous`: `normal` records survive a crash of any process; `full` records also survive a loss of
    power, but each job then waits for the disk.
    """

    synchronous: Literal["normal", "full"] = "normal"


class RetentionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on the final jobs. Beyond them the server removes the jobs that ended first, with their logs.

    `max_age`: seconds since the end of a job; `max_bytes`: disk space of the logs of all final jobs. 0 is
    unlimited.
    """

    max_jobs: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] = 100_000
    max_age: Annotated[int, msgspec.Meta(ge=0, le=3_153_600_000)] = 30 * 86_400
    max_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**60)] = 0


class CapacityConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on the sums of the limits of running jobs; 0 = not bounded.

    `cpu` bounds `max_cpu`, in percent of one core. `memory` bounds `max_memory`, in MiB.
    """

    cpu: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    memory: Annotated[int, msgspec.Meta(ge=0, le=2**30)] = 0

    def excess(self, max_cpu: int, max_memory: int) -> dict[str, str]:
        """Return an error message for each limit of a job that exceeds the whole capacity."""
        found = (("max_cpu", max_cpu, "cpu", self.cpu), ("max_memory", max_memory, "memory", self.memory))
        return {
            name: f"{value} is above capacity.{resource} of the server; use at most {bound}"
            for name, value, resource, bound in found
            if bound and value > bound
        }


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings.

    `max_jobs` bounds the running jobs, `max_queued` the jobs in the queue, and `max_create_rate` the calls of
    CreateJob per second (0 = not bounded). `shutdown_timeout` bounds the jobs' grace periods at a shutdown,
    in seconds.
    """

    listen: Listen = "0.0.0.0:50051"
    state_dir: AbsolutePath = "/opt/job-worker/state"
    certs_dir: AbsolutePath = "/opt/job-worker/certs"
    cgroup_base: AbsolutePath = "/sys/fs/cgroup/job-worker"
    max_jobs: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 500
    max_queued: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 10_000
    max_create_rate: Rate = 0.0
    shutdown_timeout: Annotated[float, msgspec.Meta(gt=0, le=3_600)] = 30.0
    defaults: Defaults = Defaults()
    capacity: CapacityConfig = CapacityConfig()
    quota: QuotaConfig = QuotaConfig()
    api: ApiConfig = ApiConfig()
    log: LogConfig = LogConfig()
    memory: MemoryConfig = MemoryConfig()
    io: IoConfig = IoConfig()
    isolation: IsolationConfig = IsolationConfig()
    scratch: ScratchConfig = ScratchConfig()
    state: StateConfig = StateConfig()
    retention: RetentionConfig = RetentionConfig()
    logging: LoggingConfig = LoggingConfig()
    metrics: MetricsConfig = MetricsConfig()


def to_json(config: Config) -> bytes:
    """Encode the settings for another program of the server, which decodes them with `from_json`."""
    return msgspec.json.encode(config)


def from_json(data: bytes) -> Config:
    """Decode the settings that `to_json` encoded.

    Raises:
        msgspec.ValidationError: the data are not valid settings.
    """
    return msgspec.json.decode(data, type=Config)


def listen_address(listen: str) -> tuple[str, int]:
    """Return the host and the port of `Config.listen`; an IPv6 address has no brackets.

    Raises:
        ValueError: the address is not valid; the message says why.
    """
    host, separator, port = listen.rpartition(":")
    if not separator or not host:
        raise ValueError("a host and a port are needed; all addresses of this host are 0.0.0.0 or [::]")
    if not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ValueError(f"port {port!r} is not a number from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        return str(ipaddress.IPv6Address(host[1:-1])), int(port)
    if ":" in host:
        raise ValueError("an IPv6 address is written in brackets, as in [::1]:50051")
    if _DOTTED_NUMBERS.fullmatch(host):
        return str(ipaddress.IPv4Address(host)), int(port)
    if not is_host_name(host):
        raise ValueError(f"host {host!r} is neither an IP address nor a host name")
    return host, int(port)
