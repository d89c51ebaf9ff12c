"""What an AppView in a cluster does around its store: waits for a rev, shares the store out, tells where images are."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from aiohttp.test_utils import make_mocked_request
from prometheus_client import CollectorRegistry

from api.appview import images
from api.appview.gate import PIECE, GatedStore
from api.fresh_cluster import ReadSaidRev
from api.metrics import HttpMetrics
from ingest.identity.reasons import IdentityReason, IdentityRefused
from schemas.errors import XrpcError
from schemas.topics import EDGES, FANOUT, RECORDS
from views import big_authors, posts
from views.big_authors_read import BigAuthors
from views.store import Progress

DID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
REVS = ["3kaaaaaaaaa2a", "3kaaaaaaaab2a", "3kaaaaaaaac2a"]


class Views:
    """The store of one shard whose heads and progress are what the test says; it counts who asks."""

    def __init__(self) -> None:
        self.rev, self.offset, self.reached = REVS[0], 1, 1
        self.asked = self.looked = 0

    async def get_many(self, _table, keys):
        self.asked += 1
        return [(keys[0][0], self.rev, self.offset)]

    async def progress(self) -> Progress:
        self.looked += 1
        marks = {(EDGES, 0, 0): (self.reached,), (FANOUT, 0, 0): (self.reached,)}
        return Progress({(RECORDS, 0): self.reached}, {}, marks)


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is polled has no event
            await asyncio.sleep(0.001)


def waiting(store: Views, seconds: float = 5.0) -> tuple[ReadSaidRev, CollectorRegistry]:
    registry = CollectorRegistry()
    return ReadSaidRev(store, 1, HttpMetrics(registry), wait_seconds=seconds), registry


def timeouts(registry: CollectorRegistry) -> float | None:
    return registry.get_sample_value("headrace_read_your_writes_timeouts_total")


async def test_a_read_waits_until_the_rev_is_in_the_heads_and_all_views_are_complete_to_it() -> None:
    store = Views()
    fresh, registry = waiting(store)

    reading = asyncio.ensure_future(fresh.wait(DID, REVS[1]))
    await until(lambda: store.asked >= 3)
    store.rev, store.offset = REVS[1], 7
    await until(lambda: store.looked >= 2)
    before = reading.done()
    store.reached = 7
    await reading

    assert not before
    assert timeouts(registry) == 0


async def test_a_rev_that_is_known_to_be_complete_is_not_looked_for_again() -> None:
    store = Views()
    store.rev, store.offset, store.reached = REVS[2], 3, 3
    fresh, _ = waiting(store)

    await fresh.wait(DID, REVS[2])
    asked, looked = store.asked, store.looked
    for rev in REVS:
        await fresh.wait(DID, rev)

    assert (asked, looked) == (1, 1)
    assert (store.asked, store.looked) == (1, 1)


@pytest.mark.parametrize("said", [None, "", "latest", "3k" + "a" * 5_000])
async def test_what_is_no_rev_is_not_waited_for(said: str | None) -> None:
    store = Views()
    fresh, _ = waiting(store)

    await fresh.wait(DID, said)

    assert store.asked == 0


async def test_a_rev_that_does_not_come_is_waited_for_briefly_and_counted() -> None:
    store = Views()
    fresh, registry = waiting(store, 0.05)

    await fresh.wait(DID, REVS[2])

    assert timeouts(registry) == 1


async def test_a_rev_is_said_once_every_view_holds_it() -> None:
    store = Views()
    store.rev, store.offset, store.reached = REVS[0], 3, 3
    fresh, _ = waiting(store, 0.02)
    await fresh.wait(DID, REVS[0])

    held = await fresh.rev(DID, None, None)
    store.rev, store.offset = REVS[1], 4
    await fresh.wait(DID, REVS[1])
    still = await fresh.rev(DID, None, None)
    store.reached = 4
    risen = await fresh.rev(DID, None, None)

    assert (held, still, risen) == (REVS[0], REVS[0], REVS[1])


async def test_who_wrote_is_shown_nothing_from_before_all_views_were_found_to_hold_it() -> None:
    store, clock = Views(), iter(range(10, 1_000, 10))
    store.rev, store.offset, store.reached = REVS[1], 7, 6
    moments = []

    def now() -> float:
        moments.append(float(next(clock)))
        return moments[-1]

    fresh = ReadSaidRev(store, 1, HttpMetrics(CollectorRegistry()), wait_seconds=5.0, now=now)
    nobody = fresh.since(DID)
    reading = asyncio.ensure_future(fresh.wait(DID, REVS[1]))
    await until(lambda: len(moments) >= 2)
    before = max(moments)
    store.reached = 7
    await reading
    found = fresh.since(DID)
    await fresh.wait(DID, REVS[1])
    other = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
    await fresh.wait(other, REVS[1])

    assert nobody is None
    assert found is not None
    assert found > before
    # Who asks again, or comes later with what is complete already, demands no more than that.
    assert fresh.since(DID) == fresh.since(other) == found


async def test_who_is_answered_before_the_views_are_there_is_shown_nothing_from_before() -> None:
    store, clock = Views(), iter(range(10, 1_000, 10))
    fresh = ReadSaidRev(store, 1, HttpMetrics(CollectorRegistry()), wait_seconds=0.05, now=lambda: float(next(clock)))
    other = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
    await fresh.wait(other, REVS[0])

    await fresh.wait(DID, REVS[2])
    given_up = fresh.since(DID)
    said = await fresh.rev(DID, REVS[2], None)

    assert given_up is not None
    assert given_up > fresh.since(other)
    assert said == REVS[0]
    assert fresh.since(DID) == given_up


async def test_all_who_wait_share_the_looks_at_progress() -> None:
    store = Views()
    store.rev, store.offset = REVS[1], 9
    fresh, _ = waiting(store)

    readers = [asyncio.ensure_future(fresh.wait(f"{DID[:-2]}{number:02}", REVS[1])) for number in range(50)]
    await until(lambda: store.looked >= 3)
    store.reached = 9
    await asyncio.gather(*readers)

    assert store.looked < 10


class Slow:
    """A store whose answers wait for the test; it counts the statements under way."""

    def __init__(self) -> None:
        self.now = self.most = self.calls = 0

    async def get_many(self, _table, keys):
        self.calls += 1
        self.now += len(keys)
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.001)
        self.now -= len(keys)
        return [key[0] for key in keys]


class AwayError(Exception):
    pass


async def test_a_call_for_20000_keys_holds_its_share_and_is_answered_in_order() -> None:
    store = Slow()
    gated = GatedStore(store, 256, AwayError)

    found = await gated.get_many(posts.TABLE, [(number,) for number in range(20_000)])

    assert found == list(range(20_000))
    assert store.most == 2 * PIECE


async def test_all_calls_together_stay_below_the_bound_and_a_small_one_is_not_held_up_by_a_large_one() -> None:
    store = Slow()
    gated = GatedStore(store, 256, AwayError)
    keys = [(number,) for number in range(2_000)]

    large = [asyncio.ensure_future(gated.get_many(posts.TABLE, keys)) for _ in range(8)]
    await asyncio.sleep(0)
    await gated.get_many(posts.TABLE, keys[:1])
    unanswered = sum(not each.done() for each in large)
    await asyncio.gather(*large)

    assert unanswered == 8
    assert PIECE < store.most <= 256


async def test_a_store_that_is_away_is_said_to_be_so() -> None:
    class Gone:
        async def get_many(self, _table, _keys):
            raise AwayError

    with pytest.raises(XrpcError) as refused:
        await GatedStore(Gone(), 256, AwayError).get_many(posts.TABLE, [("a",)])

    assert refused.value.status == 503


class Stalled:
    """A store that takes every question and answers none until it is let."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.goes_on = asyncio.Event()

    async def get_many(self, _table, keys):
        self.now += len(keys)
        self.most = max(self.most, self.now)
        try:
            await self.goes_on.wait()
        finally:
            self.now -= len(keys)
        return list(keys)

    async def slice(self, table, partition, **_more):
        return await self.get_many(table, [partition])

    async def progress(self):
        return await self.get_many(None, [()])


async def test_who_waits_behind_a_store_that_stalls_is_told_so_and_does_not_wait_for_all_before() -> None:
    store = Stalled()
    gated = GatedStore(store, 128, AwayError, seconds=0.05)
    keys = [(number,) for number in range(PIECE)]

    asked = [gated.get_many(posts.TABLE, keys) for _ in range(200)]
    asked += [gated.slice(posts.TABLE, (1,), limit=1) for _ in range(200)]
    found = await asyncio.gather(*asked, gated.progress(), return_exceptions=True)

    assert [each.status for each in found] == [503] * 401
    assert store.most <= 128 + 1
    assert store.now == 0
    store.goes_on.set()
    assert await gated.get_many(posts.TABLE, keys) == keys


class Big:
    """The table of big authors, and how often it was read."""

    def __init__(self) -> None:
        self.reads = 0
        self.dids = ["did:plc:big"]

    async def slice(self, table, partition, **_more):
        assert table is big_authors.TABLE
        self.reads += 1
        return [(0, did) for did in self.dids] if partition == (0,) else []

    async def progress(self) -> Progress:
        raise AssertionError("the progress of a cluster is not read with every page")


async def test_big_authors_are_read_once_for_many_pages_and_again_when_they_are_old() -> None:
    store = Big()
    once, always = BigAuthors(store, 3_600.0), BigAuthors(store, 0.0)

    await asyncio.gather(*(once.all() for _ in range(20)))
    await once.all()
    shared = store.reads
    store.dids.append("did:plc:bigger")
    await always.all()
    found = await always.all()

    assert shared == big_authors.PARTITIONS
    assert store.reads == 3 * big_authors.PARTITIONS
    assert found == {"did:plc:big", "did:plc:bigger"}


CID = "bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy"


class Documents:
    async def did_document(self, did, **_more):
        if did != DID:
            raise IdentityRefused(IdentityReason.NOT_FOUND, "nobody")
        return SimpleNamespace(pds="https://pds.example")


@pytest.mark.parametrize(
    ("path", "shown", "status"),
    [
        (f"avatar/plain/{DID}/{CID}@jpeg", True, 302),
        (f"avatar/plain/{DID}/{CID}", False, 404),
        (f"avatar/plain/did:plc:bbbbbbbbbbbbbbbbbbbbbbbb/{CID}@jpeg", True, 404),
        (f"avatar/plain/nobody/{CID}@jpeg", True, 404),
        (f"avatar/plain/{DID}/nothing@jpeg", True, 404),
        (f"poster/plain/{DID}/{CID}@jpeg", True, 404),
        ("avatar", True, 404),
    ],
)
async def test_an_image_is_redirected_to_the_pds_of_an_account_that_shows(path, shown, status) -> None:
    async def shows(_did: str) -> bool:
        return shown

    answer = await images.redirect(Documents(), shows)(make_mocked_request("GET", f"/img/{path}"))

    assert answer.status == status
    if status == 302:
        blob = f"https://pds.example/xrpc/com.atproto.sync.getBlob?did={DID.replace(':', '%3A')}&cid={CID}"
        assert answer.headers["Location"] == blob
