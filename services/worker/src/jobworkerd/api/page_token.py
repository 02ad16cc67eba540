"""Page tokens: where a list goes on, bound to the filters of the list.

A token is the last job's id with a checksum of the id and the filters. It holds no secret, as a client may
see any job that a list shows: the checksum finds tokens that were damaged or that belong to another list.
It is the same in all API processes, and after a restart.
"""

import base64
import binascii
import hashlib

from jobworker.v1 import job_service_pb2
from jobworkerd import job_id

_CHECKSUM_BYTES = 8


def make(last_id: str, request: job_service_pb2.ListJobsRequest) -> str:
    """Returns the token of the page that follows the job with that id."""
    raw = job_id.to_bytes(last_id)
    checksum = hashlib.blake2b(raw + _filters(request), digest_size=_CHECKSUM_BYTES).digest()
    return base64.urlsafe_b64encode(raw + checksum).decode()


def last_id(request: job_service_pb2.ListJobsRequest) -> str:
    """Returns the id in a request's token, empty if it has none.

    Raises:
        ValueError: the token was not made for a list with these filters.
    """
    token = request.page_token
    if not token:
        return ""
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise ValueError("not base64") from error
    found = job_id.from_bytes(raw[: job_id.BINARY_LENGTH])
    # Compared as a whole: several texts decode to the same bytes.
    if token != make(found, request):
        raise ValueError("of another list")
    return found


def _filters(request: job_service_pb2.ListJobsRequest) -> bytes:
    filters = (sorted(set(request.statuses)), sorted(request.labels.items()), request.id_prefix)
    return repr(filters).encode()
