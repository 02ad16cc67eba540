"""The kinds of errors of the apiserver, and how often a call is repeated."""

import ssl
from collections.abc import AsyncIterator

import pytest

from fake_apiserver import FakeApiserver, apiserver
from jobworker_cluster import kube_errors
from jobworker_cluster.access import Access
from jobworker_cluster.kube import Kube
from jobworker_cluster.kube_errors import Forbidden, KubeError, from_answer
from jobworker_cluster.resources import pods

NO_RIGHT = 'pods is forbidden: User "a" cannot create resource "pods" in API group "" in the namespace "b"'
QUOTA = 'pods "a" is forbidden: exceeded quota: q, requested: pods=1, used: pods=9, limited: pods=9'
POLICY = 'pods "a" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi'
CREATE = "POST /api/v1/namespaces/b/pods"


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "the object is not valid", kube_errors.Refused),
        (401, "Unauthorized", kube_errors.Unauthorized),
        (403, NO_RIGHT, kube_errors.Forbidden),
        (403, QUOTA, kube_errors.QuotaUsedUp),
        (403, POLICY, kube_errors.Forbidden),
        (404, 'namespaces "b" not found', kube_errors.NotFound),
        (405, "the server does not allow this method", kube_errors.Refused),
        (408, "the request took too long", kube_errors.Unreachable),
        (409, 'pods "a" already exists', kube_errors.Conflict),
        (410, "too old resource version", kube_errors.Gone),
        (413, "Request entity too large: limit is 3145728", kube_errors.TooLarge),
        (415, "the body is not in a known format", kube_errors.Refused),
        (422, 'Pod "a" is invalid: spec.nodeSelector: Invalid value', kube_errors.Invalid),
        (429, "Too many requests, please try again later.", kube_errors.Unreachable),
        (500, "Internal error occurred: failed calling webhook", kube_errors.Unreachable),
        (503, "apiserver not ready", kube_errors.Unreachable),
        (504, "Timeout: Too large resource version: 9, current: 5", kube_errors.TooNew),
        (504, "Timeout: request did not complete", kube_errors.Unreachable),
        (0, "", kube_errors.Unreachable),
    ],
)
def test_an_answer_has_a_kind(status: int, message: str, kind: type[KubeError]) -> None:
    error = from_answer(status, message)
    assert (type(error), error.status) == (kind, status)
    assert str(error).startswith(message)


@pytest.mark.parametrize(("message", "lacks"), [(NO_RIGHT, True), (POLICY, False)])
def test_a_missing_right_differs_from_a_policy(message: str, *, lacks: bool) -> None:
    error = from_answer(403, message)
    assert isinstance(error, Forbidden)
    assert error.lacks_right is lacks


def test_credentials_that_are_not_accepted_have_a_remedy() -> None:
    assert str(from_answer(401, "Unauthorized")) == (
        "Unauthorized: the apiserver does not accept the client certificate or the token; renew it"
    )


@pytest.fixture
async def server() -> AsyncIterator[FakeApiserver]:
    async with apiserver() as (fake, _):
        yield fake


async def _create(server: FakeApiserver) -> None:
    kube = Kube(Access(server.url, ssl.create_default_context()), refusal_delays=(0, 0))
    try:
        await kube.create(pods("b"), {"metadata": {"name": "a"}})
    finally:
        await kube.close()


@pytest.mark.parametrize("refusal", [(401, "Unauthorized"), (403, NO_RIGHT)])
async def test_a_right_can_be_missing_while_an_apiserver_starts(
    server: FakeApiserver, refusal: tuple[int, str]
) -> None:
    server.refusals[CREATE] = [refusal, refusal, (0, "")]
    await _create(server)
    assert server.requests == [CREATE] * 3


@pytest.mark.parametrize(
    ("refusal", "calls"), [((403, NO_RIGHT), 3), ((403, POLICY), 1), ((403, QUOTA), 1), ((413, ""), 1)]
)
async def test_a_refusal_that_stays_is_an_error(
    server: FakeApiserver, refusal: tuple[int, str], calls: int
) -> None:
    server.refusals[CREATE] = [refusal]
    with pytest.raises(KubeError):
        await _create(server)
    assert server.requests == [CREATE] * calls
