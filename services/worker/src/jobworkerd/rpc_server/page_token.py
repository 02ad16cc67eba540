"""Page tokens: the start of the next page, bound to the filters of the list.

A token contains the id of the last job and a checksum of the id and the filters. The checksum detects
damaged tokens and tokens of other lists. It needs no secret, because clients can list all jobs. Tokens are
valid in all API processes and after a restart.
"""

import base64
import binascii
import hashlib

from jobworker.v1 import job_service_pb2
from jobworkerd import job_id
from jobworkerd.rpc_server import job_filters

_CHECKSUM_BYTES = 8


def make(last_id: str, request: job_service_pb2.ListJobsRequest) -> str:
    """Return the token of the page after a job."""
    raw = job_id.to_bytes(last_id)
    checksum = hashlib.blake2b(raw + job_filters.fingerprint(request), digest_size=_CHECKSUM_BYTES).digest()
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
