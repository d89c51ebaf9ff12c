"""What hosts answer to a backfill, how fast they are asked, and what is said of it: the parts without I/O."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from headrace.commands.backfill_progress import Rate, line_of
from ingest.relay.answers import repo_refused, retry_after
from ingest.relay.backfill_list import PAGE, Listed, read_latest, read_page
from ingest.relay.backfill_pace import PAUSE_DEFAULT, PAUSE_MAX, LaterError, Paces
from ingest.relay.backfill_reasons import BackfillReason, HostThrottles
from ingest.relay.reasons import RelayReason
from schemas.errors import Refused
from schemas.syntax import Did
from schemas.tid import tid_from_micros

NOW = 1_760_000_000.0
DID = Did("did:plc:" + "a" * 24)
REV = tid_from_micros(1_760_000_000_000_000, 1)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "17"}, 17.0),
        ({"Retry-After": " 0 "}, 0.0),
        ({"Retry-After": format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True)}, 90.0),
        ({"Retry-After": format_datetime(datetime.fromtimestamp(NOW - 90, UTC), usegmt=True)}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "soon", "RateLimit-Reset": "5"}, 5.0),
        ({"RateLimit-Reset": str(int(NOW) + 30)}, 30.0),
        ({"RateLimit-Reset": str(int(NOW) - 30)}, 0.0),
        ({"RateLimit-Reset": "-3"}, None),
        ({"Retry-After": "9" * 400}, 999_999_999.0),
    ],
)
def test_how_long_a_host_wants_to_be_left_alone_is_read_in_every_form(headers, seconds):
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (429, b"", BackfillReason.HOST_THROTTLES),
        (400, b'{"error":"RepoNotFound"}', BackfillReason.REPO_GONE),
        (400, b'{"error":"RepoDeactivated"}', BackfillReason.REPO_GONE),
        (400, b'{"error":"InvalidRequest"}', RelayReason.REPO_STATUS),
        (404, b"<html>", RelayReason.REPO_STATUS),
        (400, b"[]", RelayReason.REPO_STATUS),
        (503, b'{"error":"RepoNotFound"}', RelayReason.REPO_STATUS),
    ],
)
def test_a_repo_that_is_not_given_is_refused_for_what_the_host_says(status, body, reason):
    found = repo_refused(status, {"Retry-After": "3"}, body, DID)

    assert found.reason is reason
    assert isinstance(found, HostThrottles) == (status == 429)


def test_a_page_is_read_entry_by_entry():
    repos: list[Any] = [
        {"did": DID, "rev": REV, "head": "b", "active": True},
        {"did": DID, "rev": "nonsense"},
        {"did": DID, "rev": REV, "active": False, "status": "takendown"},
        {"did": DID, "active": False, "status": 7},
        {"did": "did:plc:" + "a" * 3_000},
        {"did": 7},
        None,
    ]
    page = read_page({"repos": repos, "cursor": "next"})

    assert page.accounts == [
        Listed(DID, REV, "active"),
        Listed(DID, None, "active"),
        Listed(DID, REV, "takendown"),
        Listed(DID, None, "deactivated"),
    ]
    assert (page.bad, page.cursor) == (3, "next")
    assert read_page({"repos": [], "cursor": ""}).cursor is None
    assert read_latest({"rev": REV, "cid": "b"}) == REV


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"repos": {}},
        {"repos": [{}] * (PAGE + 1)},
        {"repos": [], "cursor": 7},
        {"repos": [], "cursor": "x" * 9_999},
    ],
)
def test_a_page_that_is_none_is_refused(answer):
    with pytest.raises(Refused) as refused:
        read_page(answer)
    assert refused.value.reason is BackfillReason.HOST_LIST


@pytest.mark.parametrize("answer", [None, {}, {"rev": 7}, {"rev": "3"}])
def test_a_latest_commit_without_a_rev_is_refused(answer):
    with pytest.raises(Refused):
        read_latest(answer)


async def test_a_host_that_wants_to_be_left_alone_is_and_others_are_not():
    paces = Paces(1_000.0, 2)

    assert paces.pause("https://one.test", None) == PAUSE_DEFAULT
    assert paces.pause("https://two.test", 1e9) == PAUSE_MAX
    for url, least in (("https://one.test", 20), ("https://two.test", 3_000)):
        with pytest.raises(LaterError) as later:
            async with paces.turn(url):
                pytest.fail("it was asked")
        assert later.value.seconds > least
    async with paces.turn("https://three.test"), paces.turn("https://three.test"):
        waiting = asyncio.ensure_future(_turn(paces, "https://three.test"))
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting


async def _turn(paces: Paces, url: str) -> None:
    async with paces.turn(url):
        pass


def test_progress_is_said_in_words_with_what_is_left():
    view = {
        "id": 1,
        "host": "pds.example.com",
        "state": "running",
        "listed": False,
        "accounts": 3_000,
        "waiting": 2_000,
        "became": {"fetched": 900, "current": 90},
        "failed": {"repo_gone": 10},
    }
    rate = Rate()

    assert rate.at(0.0, 0) is None
    assert rate.at(100.0, 1_000) == 10.0
    assert line_of(view, 10.0) == (
        "pds.example.com: 1,000 of 3,000 or more, fetched 900, current 90, failed 10, 10.0/s, at least 3:20 left"
    )
    assert line_of({**view, "listed": True, "waiting": 0, "state": "done", "host": ""}, None) == (
        "accounts that were named: 3,000 of 3,000, fetched 900, current 90, failed 10, done"
    )
    assert "1:06:40 left" in line_of({**view, "listed": True}, 0.5)
    assert "11 days left" in line_of({**view, "listed": True}, 0.002)
