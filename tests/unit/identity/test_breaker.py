"""When the directory may be asked: the breaker's states one by one, and the requests that a failing server saw."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from time import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ingest.identity import plc_paced
from ingest.identity.breaker import FAILURES, FIRST_LIMIT, LONGEST_PAUSE, LONGEST_SAID, Breaker
from ingest.identity.handles import HandleResolver
from ingest.identity.plc_client import PlcHttp, _seconds
from ingest.identity.plc_paced import MAX_WAITING, PacedPlc
from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.resolver import IdentityResolver
from ingest.identity.swr_cache import Bounds
from tests.relay.world.people import did_of


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(plc_paced, "WAIT_SECONDS", 60.0)  # a busy machine is no slow directory
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(32, clock, lambda: 0.5)


def fail(breaker, times=1, retry_after=None):
    for _ in range(times):
        breaker.failed(breaker.admit(), retry_after)


def refused(breaker):
    with pytest.raises(IdentityRefused) as caught:
        breaker.admit()
    assert caught.value.reason is IdentityReason.BUSY
    return caught.value.retry_after


def test_failures_in_a_row_open_it_and_a_success_between_does_not(breaker):
    fail(breaker, FAILURES - 1)
    breaker.succeeded(breaker.admit())
    fail(breaker, FAILURES - 1)
    assert breaker.state == "closed"
    fail(breaker)

    assert breaker.state == "open"
    assert refused(breaker) == 1.0


def test_one_request_probes_and_decides(breaker, clock):
    fail(breaker, FAILURES)
    clock.now += 1
    probe = breaker.admit()
    assert breaker.state == "half_open"
    refused(breaker)
    breaker.failed(probe)
    assert breaker.state == "open"
    clock.now += 1
    assert refused(breaker) == 1.0  # twice as long
    clock.now += 1
    breaker.succeeded(breaker.admit())

    assert (breaker.state, breaker.limit) == ("closed", 1)


def test_it_is_open_for_longer_each_time_up_to_a_minute_until_much_has_gone_well(breaker, clock):
    pauses = []
    fail(breaker, FAILURES)
    for _ in range(9):
        pauses.append(breaker._until - clock.now)
        clock.now = breaker._until
        fail(breaker)
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    clock.now = breaker._until
    for _ in range(2):
        breaker.succeeded(breaker.admit())
    fail(breaker, FAILURES)

    assert breaker._until - clock.now == 1


def test_what_the_server_says_is_honoured_within_bounds(breaker, clock):
    fail(breaker, 1, retry_after=30)
    assert refused(breaker) == 30
    clock.now += 30
    fail(breaker, 1, retry_after=10**9)
    assert refused(breaker) == LONGEST_SAID


def test_the_limit_falls_by_half_and_rises_by_one(breaker):
    breaker.failed(breaker.admit())
    assert breaker.limit == FIRST_LIMIT // 2
    for _ in range(FIRST_LIMIT // 2):
        breaker.succeeded(breaker.admit())
    assert breaker.limit == FIRST_LIMIT // 2 + 1
    for _ in range(100_000):
        breaker.succeeded(breaker.admit())
    assert breaker.limit == 32
    for _ in range(32):
        assert breaker.has_room
        breaker.admit()
    assert not breaker.has_room


def test_what_began_before_it_opened_decides_nothing(breaker, clock):
    early = [breaker.admit() for _ in range(FIRST_LIMIT)]
    for ticket in early[:FAILURES]:
        breaker.failed(ticket)
    for ticket in early[FAILURES:]:
        breaker.succeeded(ticket)
    assert (breaker.state, breaker.opened, breaker.under_way) == ("open", 1, 0)
    clock.now += 1
    probe = breaker.admit()
    breaker.let_go(probe)

    assert breaker.state == "half_open"
    breaker.succeeded(breaker.admit())
    assert breaker.state == "closed"


class Directory:
    """A real server over loopback: `mode` is what it does with a request, `seen` how many it met, `most` at once."""

    def __init__(self):
        self.mode, self.seen, self.now, self.most = "well", 0, 0, 0
        self.release = asyncio.Event()

    async def answer(self, request):
        self.seen += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self.mode == "stalls":
                await self.release.wait()
            if self.mode == "slow":
                await asyncio.sleep(0)
            if self.mode == "500":
                return web.Response(status=500)
            if self.mode == "429":
                return web.Response(status=429, headers={"Retry-After": "40"})
            return web.json_response({"id": request.match_info["did"]})
        finally:
            self.now -= 1


@pytest.fixture
async def directory():
    made = Directory()
    app = web.Application()
    app.router.add_get("/{did}", made.answer)
    server = TestServer(app)
    await server.start_server()
    made.url = str(server.make_url("/"))
    yield made
    made.release.set()
    await server.close()


class Nowhere:
    async def lookup(self, name):  # noqa: ARG002
        return ()

    async def get(self, url, limit, accept="*/*", redirects=3):  # noqa: ARG002
        raise IdentityRefused(IdentityReason.NOT_FOUND, url)


@pytest.fixture
async def resolver(directory, clock):
    http = PlcHttp(directory.url, timeout=30.0)
    paced = PacedPlc(http, Breaker(32, clock, lambda: 0.5))
    made = IdentityResolver(paced, HandleResolver(Nowhere(), Nowhere()), Nowhere(), dids=Bounds(waiting=20_000))
    made.paced, made.http = paced, http
    yield made
    await made.close()
    await http.close()


async def crowd(resolver, start, count):
    """How many of so many accounts that nobody has met resolve."""
    found = await asyncio.gather(
        *(resolver.did_document(did_of(start + number)) for number in range(count)), return_exceptions=True
    )
    assert all(not isinstance(one, BaseException) or getattr(one, "transient", False) for one in found), found
    return sum(not isinstance(one, BaseException) for one in found)


@pytest.mark.parametrize("mode", ["500", "429", "stalls"])
async def test_thousands_of_unknown_accounts_are_no_storm_on_a_directory_that_fails(directory, resolver, clock, mode):
    directory.mode, outcomes = mode, resolver.paced.outcomes
    resolver.http._timeout = 0.2 if mode == "stalls" else 30.0

    assert await crowd(resolver, 0, 2_000) == 0
    assert directory.seen <= outcomes["failed"] <= FAILURES + FIRST_LIMIT
    assert outcomes["turned_away"] + outcomes["failed"] == 2_000
    # Each time it may be asked again, it is asked once.
    for number in range(1, 6):
        before, clock.now = outcomes["failed"], clock.now + LONGEST_SAID * 2
        assert await crowd(resolver, number * 10_000, 100) == 0
        assert outcomes["failed"] == before + 1
    assert directory.seen <= outcomes["failed"]

    directory.mode = "well"
    directory.release.set()
    await resolver.http.close()
    resolver.http._timeout = 30.0
    clock.now += LONGEST_SAID * 2
    assert await crowd(resolver, 90_000, 1) == 1
    assert await crowd(resolver, 90_001, 200) == 200
    assert resolver.paced.breaker.state == "closed"


async def test_a_directory_that_is_well_is_asked_by_a_bounded_number_at_once(directory, resolver):
    directory.mode = "slow"

    assert await crowd(resolver, 0, 500) == 500
    assert directory.seen == 500
    assert FIRST_LIMIT <= directory.most <= 32


async def test_it_is_said_once_that_the_directory_fails_and_once_that_it_answers(directory, resolver, clock, capsys):
    directory.mode = "500"
    await crowd(resolver, 0, 500)
    directory.mode = "well"
    clock.now += 2
    await crowd(resolver, 1_000, 1)
    await crowd(resolver, 1_001, 10)

    said = capsys.readouterr().out
    assert said.count("the did:plc directory fails") == 1
    assert said.count("the did:plc directory answers again") == 1


async def test_who_waits_for_a_turn_is_bounded_too(directory, clock):
    directory.mode = "stalls"
    http = PlcHttp(directory.url)
    paced = PacedPlc(http, Breaker(32, clock, lambda: 0.5))
    asked = [asyncio.create_task(paced.document(did_of(number))) for number in range(MAX_WAITING + FIRST_LIMIT)]
    await asyncio.sleep(0)

    with pytest.raises(IdentityRefused) as caught:
        await paced.document(did_of(-1 % 2**32))
    assert caught.value.reason is IdentityReason.BUSY
    directory.release.set()
    assert len(await asyncio.gather(*asked)) == MAX_WAITING + FIRST_LIMIT
    await http.close()


def test_retry_after_is_read_in_both_forms():
    assert _seconds("120") == 120
    assert 50 < (_seconds(formatdate(time() + 60, usegmt=True)) or 0) <= 60
    assert _seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for text in (None, "", "soon", "-1", "1e9"):
        assert _seconds(text) is None
