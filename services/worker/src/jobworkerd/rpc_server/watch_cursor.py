"""Cursors of watches: a position in the change log of one supervisor, bound to the filters of the watch.

A cursor needs no secret, because clients can list all jobs. It is valid in all API processes.
"""

import base64
import binascii
import hashlib
import struct

from jobworker.v1 import job_watch_pb2
from jobworkerd.rpc_server import job_filters

_FINGERPRINT_BYTES = 8
_FORMAT = struct.Struct(f">QQ{_FINGERPRINT_BYTES}s")


class UnusableCursor(ValueError):
    """Raised if a watch cannot continue after a cursor. The text is the reason, for the client."""


def fingerprint(request: job_watch_pb2.WatchJobsRequest) -> bytes:
    """Return the part of a cursor that identifies the filters of a request."""
    filters = job_filters.fingerprint(request) + repr(sorted(request.ids)).encode()
    return hashlib.blake2b(filters, digest_size=_FINGERPRINT_BYTES).digest()


def make(epoch: int, revision: int, filters: bytes) -> str:
    """Return the cursor after a revision, for the fingerprint of the filters."""
    return base64.urlsafe_b64encode(_FORMAT.pack(epoch, revision, filters)).decode()


def revision_of(cursor: str, epoch: int, filters: bytes) -> int:
    """Return the revision of a cursor.

    Raises:
        UnusableCursor: the watch must start again.
    """
    try:
        found = _FORMAT.unpack(base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True))
    except (UnicodeEncodeError, binascii.Error, struct.error) as error:
        raise UnusableCursor("the cursor is damaged") from error
    found_epoch, revision, found_filters = found
    if found_filters != filters:
        raise UnusableCursor("the cursor belongs to a watch with other filters")
    if found_epoch != epoch:
        raise UnusableCursor("the server has restarted since")
    return int(revision)
