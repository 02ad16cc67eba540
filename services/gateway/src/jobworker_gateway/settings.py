"""The settings of the gateway: names, types, defaults and sources.

They have the names and the bounds of those of `jobworkerd`, where both have them. Sources, in order of
precedence: flags, environment (`JOBWORKER_GATEWAY_…`), TOML file, the defaults in this module.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from jobworkerd.config import (
    AbsolutePath,
    ApiConfig,
    Config,
    Defaults,
    IsolationConfig,
    Listen,
    LogConfig,
    LoggingConfig,
    MetricsConfig,
    RequestDefaults,
    ScratchConfig,
)
from jobworkerd.limit_bounds import MAX_SCRATCH
from jobworkerd.model import Network
from jobworkerd.quotas import QuotaConfig, Rate
from jobworkerd.settings.keys import Key, all_keys
from jobworkerd.settings.resolve import Files, resolve_values

PREFIX = "JOBWORKER_GATEWAY_"

DEFAULT_FILE = Path("/etc/job-worker/gateway.toml")
"""The configuration file that is used if `--config` is not given and the file exists."""

OptionalPath = Annotated[
    str, msgspec.Meta(pattern=r"^(/[^\x00]*)?$", description="an absolute path, or empty")
]

Archive = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(sqlite:/[^\x00]+|postgres(ql)?://.+)$",
        description="sqlite:FILE with an absolute path, or postgresql://USER@HOST/DATABASE",
    ),
]

Namespace = Annotated[
    str,
    msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", description="the name of a namespace"),
]

QueueName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
LabelKey = Annotated[str, msgspec.Meta(min_length=1, max_length=317)]
LabelValue = Annotated[str, msgspec.Meta(max_length=63)]

Queues = Annotated[
    dict[QueueName, dict[LabelKey, LabelValue]],
    msgspec.Meta(description="a table in the file, with a table of node labels per queue"),
]


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The certificate with which the gateway calls the servers of the nodes, and their authority.

    An empty path stands for `ca.pem`, `gateway.pem` or `gateway-key.pem` in `certs_dir`.
    """

    ca: OptionalPath = ""
    certificate: OptionalPath = ""
    key: OptionalPath = ""


class GatewayApiConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the gRPC server, as `jobworkerd.config.ApiConfig`."""

    reflection: bool = True
    keepalive: Annotated[int, msgspec.Meta(ge=10, le=3_600)] = 30
    max_connections: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 4_096
    max_concurrent_rpcs: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 8_192


class GatewayLogConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the streams of output. `stall_timeout`: seconds that a client can read nothing."""

    stall_timeout: Annotated[float, msgspec.Meta(gt=0, le=3_600)] = 5.0


class GatewayIsolationConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network of jobs whose requests do not name one. The nodes decide about all other isolation."""

    network: Network = Network.HOST


class GatewayScratchConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The private directories of jobs in MiB: the size for requests without one, and the bound (0: none)."""

    default: Annotated[int, msgspec.Meta(ge=1, le=MAX_SCRATCH)] = 256
    max: Annotated[int, msgspec.Meta(ge=0, le=MAX_SCRATCH)] = 0


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings.

    `kubeconfig` is empty inside of a Pod, whose service account the gateway then uses. A job is LOST when its
    node has not renewed its lease for `lost_after` seconds. `queues` are the labels that the nodes of each
    queue must have.
    """

    listen: Listen = "0.0.0.0:50051"
    certs_dir: AbsolutePath = "/opt/job-worker/certs"
    archive: Archive = "sqlite:/var/lib/jobworker-gateway/archive.sqlite"
    kubeconfig: OptionalPath = ""
    namespace: Namespace = "jobworker"
    lost_after: Annotated[float, msgspec.Meta(ge=20, le=86_400)] = 25.0
    max_create_rate: Rate = 0.0
    queues: Queues = {}
    node: NodeConfig = NodeConfig()
    defaults: RequestDefaults = RequestDefaults()
    quota: QuotaConfig = QuotaConfig()
    api: GatewayApiConfig = GatewayApiConfig()
    log: GatewayLogConfig = GatewayLogConfig()
    isolation: GatewayIsolationConfig = GatewayIsolationConfig()
    scratch: GatewayScratchConfig = GatewayScratchConfig()
    logging: LoggingConfig = LoggingConfig()
    metrics: MetricsConfig = MetricsConfig()

    @property
    def server(self) -> Config:
        """The settings for the code that the gateway shares with `jobworkerd`."""
        api, scratch = self.api, self.scratch
        return Config(
            listen=self.listen,
            certs_dir=self.certs_dir,
            max_create_rate=self.max_create_rate,
            defaults=Defaults(**msgspec.structs.asdict(self.defaults)),
            quota=self.quota,
            api=ApiConfig(
                reflection=api.reflection,
                keepalive=api.keepalive,
                max_connections=api.max_connections,
                max_concurrent_rpcs=api.max_concurrent_rpcs,
            ),
            log=LogConfig(stall_timeout=self.log.stall_timeout),
            isolation=IsolationConfig(network=self.isolation.network),
            scratch=ScratchConfig(default=scratch.default, max=scratch.max),
            logging=self.logging,
            metrics=self.metrics,
        )

    @property
    def node_files(self) -> tuple[Path, Path, Path]:
        """The authority, the certificate and the key for calls to nodes."""
        directory, node = Path(self.certs_dir), self.node
        return (
            Path(node.ca or directory / "ca.pem"),
            Path(node.certificate or directory / "gateway.pem"),
            Path(node.key or directory / "gateway-key.pem"),
        )


def gateway_keys() -> tuple[Key, ...]:
    """Return all settings."""
    return all_keys(GatewayConfig, PREFIX)


def resolve(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> GatewayConfig:
    """Return the resolved settings.

    `file` must exist. If it is None, the default file is used if it exists. `flags` maps keys to values, and
    None stands for a flag that is not given.

    Raises:
        SettingsError: a source cannot be read, a name is unknown, or a value is not accepted.
    """
    values, _ = resolve_values(gateway_keys(), Files(file, DEFAULT_FILE), environ, flags, {})
    return msgspec.convert(values, GatewayConfig)
