"""Page tokens: the start of the next page, bound to the filters of the list.

A token contains the id of the last job and a checksum of the id and the filters. The checksum detects
damaged tokens and tokens of other lists. It needs no secret, because clients can list all jobs. Tokens are
valid in all API processes and after a restart.
"""

import base64
import binascii
import hashlib
from typing import Literal

from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_service_pb2
from jobworkerd import job_id

_CHECKSUM_BYTES = 8


def make(last_id: str, request: job_service_pb2.ListJobsRequest) -> str:
    """Return the token of the page after a job."""
    raw = job_id.to_bytes(last_id)
    checksum = hashlib.blake2b(raw + _filters(request), digest_size=_CHECKSUM_BYTES).digest()
    return base64.urlsafe_b64encode(raw + checksum).decode()


def last_id(request: job_service_pb2.ListJobsRequest) -> str:
    """Return the id in the token of a request, empty without a token.

    Raises:
        ValueError: the token is damaged or belongs to a list with other filters.
    """
    token = request.page_token
    if not token:
        return ""
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise ValueError("not base64") from error
    found = job_id.from_bytes(raw[: job_id.BINARY_LENGTH])
    # The texts are compared, because several texts decode to the same bytes.
    if token != make(found, request):
        raise ValueError("token of another list")
    return found


def _filters(request: job_service_pb2.ListJobsRequest) -> bytes:
    filters = [
        sorted(set(request.statuses)),
        sorted(request.labels.items()),
        request.id_prefix,
        request.owner,
        _time(request, "created_after"),
        _time(request, "created_before"),
        request.command_contains,
    ]
    return repr(filters).encode()


def _time(
    request: job_service_pb2.ListJobsRequest, field: Literal["created_after", "created_before"]
) -> tuple[int, int] | None:
    time: Timestamp = getattr(request, field)
    return (time.seconds, time.nanos) if request.HasField(field) else None
