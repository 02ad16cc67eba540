"""The settings that bound what one client can use.

A client is the subject of a certificate, however many connections and hosts use it. 0 means not bounded.
"""

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]


class ViewerQuota(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on each client with the role Viewer, in each API process."""

    connections: Count = 1_024
    concurrent_rpcs: Count = 1_024


class AdminQuota(ViewerQuota, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on each client with the role Admin.

    The bounds of `ViewerQuota` apply in each API process, and the others in the whole server. `create_rate`
    is in CreateJob calls per second.
    """

    create_rate: Rate = 0.0
    running_jobs: Count = 0
    queued_jobs: Count = 5_000


class QuotaConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on each client, by role."""

    admin: AdminQuota = AdminQuota()
    viewer: ViewerQuota = ViewerQuota()
