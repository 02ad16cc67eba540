"""Page tokens: accepted tokens and their start positions."""

import base64
from typing import Any

import pytest
from api_server import JOB_ID
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from jobworker.v1 import job_pb2, job_service_pb2
from jobworkerd.errors import InvalidRequest
from jobworkerd.rpc_server import page_token, validation

Request = job_service_pb2.ListJobsRequest
TOKEN = page_token.make(JOB_ID, Request())
RUNNING, LOST = job_pb2.JOB_STATUS_RUNNING, job_pb2.JOB_STATUS_LOST


def test_a_token_continues_after_the_last_job() -> None:
    assert JOB_ID not in TOKEN
    assert validation.list_jobs(Request(page_token=TOKEN)).before == JOB_ID
    assert not validation.list_jobs(Request()).before


@pytest.mark.parametrize("position", range(len(TOKEN)))
def test_a_modified_token_is_refused(position: int) -> None:
    for other in "Aa_-=":
        changed = TOKEN[:position] + other + TOKEN[position + 1 :]
        if changed != TOKEN:
            with pytest.raises(ValueError, match=r"."):
                page_token.last_id(Request(page_token=changed))


@pytest.mark.parametrize(
    "token",
    [
        TOKEN[:-1],
        TOKEN[:-4],
        TOKEN + "=",
        TOKEN + "AAAA",
        TOKEN + "\n",
        " " + TOKEN,
        TOKEN.swapcase(),
        base64.urlsafe_b64encode(bytes(16)).decode(),
        "nonsense",
        JOB_ID,
        "ä",
    ],
)
def test_a_token_that_the_server_did_not_make_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validation.list_jobs(Request(page_token=token))
    assert caught.value.violations["page_token"].startswith(
        "not a token of this list; use the next_page_token"
    )


@given(st.text())
def test_other_texts_are_refused(text: str) -> None:
    if text not in {"", TOKEN}:
        with pytest.raises(ValueError, match=r"."):
            page_token.last_id(Request(page_token=text))


FILTERS: dict[str, Any] = {
    "statuses": [RUNNING, LOST],
    "labels": {"a": "b", "c": "d"},
    "id_prefix": "0199",
    "owner": "CN=alice",
    "created_after": Timestamp(seconds=1),
    "created_before": Timestamp(seconds=9, nanos=5),
    "command_contains": "train",
}
NOT_FILTERS = {"page_size", "page_token", "live_usage"}


def test_every_filter_is_in_the_table() -> None:
    assert FILTERS.keys() == set(Request.DESCRIPTOR.fields_by_name) - NOT_FILTERS


@pytest.mark.parametrize(
    "other",
    [
        {"statuses": [RUNNING]},
        {"statuses": []},
        {"labels": {}},
        {"labels": {"a": "b"}},
        {"labels": {"a": "d", "c": "b"}},
        {"id_prefix": "019"},
        {"id_prefix": ""},
        {"owner": "CN=bob"},
        {"owner": "", "command_contains": "CN=alice"},
        {"created_after": Timestamp(seconds=1, nanos=1)},
        {"created_after": Timestamp()},
        {"created_after": None},
        {"created_before": Timestamp(seconds=9)},
        {"created_before": None},
        {"command_contains": "trai"},
    ],
)
def test_a_token_is_refused_for_other_filters(other: dict[str, Any]) -> None:
    token = page_token.make(JOB_ID, Request(**FILTERS))
    with pytest.raises(InvalidRequest):
        validation.list_jobs(Request(**FILTERS | other, page_token=token))


@pytest.mark.parametrize(
    "same",
    [
        {},
        {"page_size": 7},
        {"live_usage": True},
        {"statuses": [LOST, RUNNING, LOST]},
        {"labels": {"c": "d", "a": "b"}},
    ],
)
def test_fields_that_are_not_filters_can_change_between_pages(same: dict[str, Any]) -> None:
    token = page_token.make(JOB_ID, Request(**FILTERS))
    assert validation.list_jobs(Request(**FILTERS | same, page_token=token)).before == JOB_ID
