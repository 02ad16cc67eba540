"""A table of the nodes of a cluster."""

from collections.abc import Sequence

from jobworker.v1 import cluster_service_pb2
from jobworker_cli.output import printable
from jobworker_cli.render.tables import table
from jobworker_cli.render.times import format_age
from jobworker_cli.render.units import format_size

__all__ = ["nodes_table"]

COLUMNS = ("NAME", "READY", "SCHEDULABLE", "CPU", "MEMORY", "JOBS", "AGE", "VERSION")
WIDE_COLUMNS = ("ADDRESS", "LABELS", "CONDITIONS")


def nodes_table(nodes: Sequence[cluster_service_pb2.Node], *, wide: bool = False) -> str:
    """Return a table with one line per node, cut to the width of the terminal unless it is wide.

    The last column has the reason why a node is not ready.
    """
    header = (*COLUMNS, *(WIDE_COLUMNS if wide else ()), "PROBLEM")
    rows = [(*_columns(node), *(_wide_columns(node) if wide else ()), _problem(node)) for node in nodes]
    return table([header, *rows], cut=not wide)


def _columns(node: cluster_service_pb2.Node) -> tuple[str, ...]:
    used, room = node.allocated, node.capacity
    return (
        printable(node.name),
        _yes_or_no(node.ready),
        _yes_or_no(node.schedulable),
        f"{used.cpu}% / {room.cpu}%",
        f"{_mebibytes(used.memory)} / {_mebibytes(room.memory)}",
        f"{used.jobs} / {room.jobs}",
        format_age(node.create_time).removesuffix(" ago") if node.HasField("create_time") else "-",
        printable(node.version) or "-",
    )


def _wide_columns(node: cluster_service_pb2.Node) -> tuple[str, ...]:
    labels = ",".join(f"{key}={node.labels[key]}" for key in sorted(node.labels))
    conditions = ",".join(f"{each.type}={each.status}" for each in node.conditions)
    return (printable(node.address) or "-", printable(labels) or "-", printable(conditions) or "-")


def _problem(node: cluster_service_pb2.Node) -> str:
    if node.ready:
        return "-"
    found = [each.message or each.reason for each in node.conditions if each.type == "Ready"]
    return printable(" ".join(found)) or "unknown"


def _mebibytes(count: int) -> str:
    return format_size(count * 1024 * 1024)


def _yes_or_no(value: bool) -> str:  # noqa: FBT001 - the value of a field
    return "yes" if value else "no"
