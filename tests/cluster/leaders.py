"""Finds the programs of a control plane that lead."""

import json
import re
import urllib.request
from collections.abc import Sequence

from tests.cluster.control_plane import ControlPlane
from tests.cluster.service import Service

_ACQUIRED = re.compile(r"^I(\d{4} [\d:.]+) .*successfully acquired lease", re.MULTILINE | re.IGNORECASE)


def lease_leader(services: Sequence[Service]) -> Service:
    """Return the scheduler or controller manager that was the last one to get the lease.

    The holder in the lease itself is the host name, which all network namespaces share.
    """
    return max(services, key=_last_acquired)


def _last_acquired(service: Service) -> str:
    times: list[str] = _ACQUIRED.findall(service.log.read_text(errors="replace"))
    return times[-1] if times else ""


def etcd_leader(plane: ControlPlane) -> Service | None:
    """Return the member of etcd that leads; None if no member answers, or none leads."""
    for url, service in zip(plane.etcd_urls, plane.etcd, strict=True):
        try:
            request = urllib.request.Request(f"{url}/v3/maintenance/status", b"{}")
            with urllib.request.urlopen(request, timeout=2) as response:
                status = json.load(response)
        except OSError:
            continue
        if status.get("leader") == status["header"]["member_id"]:
            return service
    return None
