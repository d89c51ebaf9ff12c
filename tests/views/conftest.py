"""A world to say logs in: `world.put(...)`, `await world.run()`, then look at rows."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager

import pytest

from processors.batch import Stages
from processors.decode import Decoder
from processors.plan import Plan
from schemas.cbor import encode
from schemas.cid import Cid
from schemas.datetimes import from_micros
from schemas.entries import AccountEntry, HeadEntry, RecordEntry, TakedownEntry
from schemas.lexicon import load
from schemas.operations import BOOKMARK, MUTE, Operation
from schemas.syntax import Did, Handle
from schemas.tid import Tid, tid_from_micros
from schemas.topics import shard_of
from tests.support.cql_views import views_keyspace
from tests.support.stack import cql_address
from views import ALL
from views.record import BLOCK, FOLLOW, LIKE, POST, PROFILE, REPOST, authority
from views.store_sqlite import SqliteStore
from views.view import FanoutSettings

__all__ = ["cql_address", "views_keyspace"]

START = 1_700_000_000_000_000
SECOND = 1_000_000


def did(name: str) -> str:
    return f"did:plc:{name:a<24}"


def at(second: float) -> str:
    """A moment as records say it."""
    return from_micros(START + int(second * SECOND))


def rkey(number: int) -> str:
    return str(tid_from_micros(START + number, 0))


class World:
    """A log of derived entries over `shards`, and the stages that turn it into rows."""

    def __init__(self, store, shards=1, settings=None):
        self.store = store
        self.shards = shards
        self.log = {shard: [] for shard in range(shards)}
        self.live = {}
        self.time = START + 1_000_000 * SECOND
        self.fed = dict.fromkeys(range(shards), 0)
        self.operations = {shard: [] for shard in range(shards)}
        self.operated = dict.fromkeys(range(shards), 0)
        self.plan = Plan(ALL)
        self.decoder = Decoder(load(), self.plan.collections)
        self.settings = settings or FanoutSettings()
        self.stages = None

    def _place(self, owner):
        self.time += SECOND
        log = self.log[shard_of(owner, self.shards)]
        return log, len(log) + 1

    def put(self, owner, collection, key, value):
        log, offset = self._place(owner)
        data = value if isinstance(value, bytes) else encode({"$type": collection, **value})
        first = self.live.setdefault((owner, collection, key), self.time)
        rev = tid_from_micros(self.time, 0)
        entry = RecordEntry(Did(owner), collection, key, Cid.of_cbor(data), data, rev, first, self.time, offset, offset)
        log.append(entry)
        return entry.uri

    def delete(self, uri):
        owner, collection, key = uri[5:].split("/")
        log, offset = self._place(owner)
        first = self.live.pop((owner, collection, key), self.time)
        rev = tid_from_micros(self.time, 0)
        log.append(RecordEntry(Did(owner), collection, key, None, None, rev, first, self.time, offset, offset))

    def account(self, owner, handle=None, status="active"):
        log, offset = self._place(owner)
        log.append(AccountEntry(Did(owner), handle and Handle(handle), status, self.time, self.time, offset, offset))

    def delete_account(self, owner):
        self.account(owner, None, "deleted")
        for mine, collection, key in sorted(k for k in self.live if k[0] == owner):
            self.delete(f"at://{mine}/{collection}/{key}")

    def head(self, owner, rev):
        log, offset = self._place(owner)
        cid = Cid.of_cbor(rev.encode())
        log.append(HeadEntry(Did(owner), Tid(rev), cid, cid, b"", self.time, offset, offset))

    def takedown(self, uri, *, takedown=True):
        log, offset = self._place(authority(uri))
        log.append(TakedownEntry(uri, takedown, self.time, offset, offset))

    def post(self, owner, number, second=None, **fields):
        said = {"text": f"post {number}", "createdAt": at(number if second is None else second), **fields}
        return self.put(owner, POST, rkey(number), said)

    def like(self, owner, number, uri, second=None):
        return self._subject(owner, LIKE, number, {"uri": uri, "cid": CID}, second)

    def repost(self, owner, number, uri, second=None):
        return self._subject(owner, REPOST, number, {"uri": uri, "cid": CID}, second)

    def follow(self, owner, number, subject, second=None):
        return self._subject(owner, FOLLOW, number, subject, second)

    def block(self, owner, number, subject, second=None):
        return self._subject(owner, BLOCK, number, subject, second)

    def operate(self, owner, kind, subject, value=b""):
        self.time += SECOND
        log = self.operations[shard_of(owner, self.shards)]
        log.append(Operation(Did(owner), kind, subject, value, self.time, len(log) + 1))

    def mute(self, owner, subject, value=b"\0"):
        self.operate(owner, MUTE, subject, value)

    def bookmark(self, owner, uri, value=None):
        self.operate(owner, BOOKMARK, uri, CID.encode() if value is None else value)

    def profile(self, owner, **fields):
        return self.put(owner, PROFILE, "self", fields)

    def _subject(self, owner, collection, number, subject, second):
        when = at(number if second is None else second)
        return self.put(owner, collection, rkey(number), {"subject": subject, "createdAt": when})

    async def run(self, size=None, seed=0):
        """Feed what is new, in batches of about `size` (all at once by default), shard by shard at random."""
        if self.stages is None:
            progress = await self.store.progress()
            self.stages = Stages(
                self.plan, self.decoder, self.store, progress, shards=self.shards, settings=self.settings
            )
        dice = random.Random(seed)
        while any(self.fed[shard] < len(log) for shard, log in self.log.items()):
            self.stages.begin()
            for shard in dice.sample(range(self.shards), self.shards):
                start = self.fed[shard]
                some = self.log[shard][start : None if size is None else start + dice.randint(0, size)]
                await self.stages.feed(shard, some)
                self.fed[shard] += len(some)
            await self.store.apply(self.stages.finish())
        for shard, log in self.operations.items():
            while self.operated[shard] < len(log):
                start = self.operated[shard]
                some = log[start : None if size is None else start + dice.randint(1, size)]
                self.stages.begin()
                await self.stages.feed_operations(shard, some)
                await self.store.apply(self.stages.finish())
                self.operated[shard] += len(some)

    async def rows(self, table, *partition):
        return await self.store.slice(table, partition, limit=10_000)

    async def statics(self, table, *partition):
        (values,) = await self.store.statics(table, [partition])
        return values


CID = str(Cid.of_cbor(b"\xa0"))


# What is held to its rows and answers on a cluster's store too: each kind of row, count, rule and page once.
ON_CQL = frozenset(
    (
        "test_a_block_between_others_hides_how_they_stand_to_each_other",
        "test_a_block_hides_two_accounts_from_each_other",
        "test_a_bookmark_says_what_became_of_its_post",
        "test_a_detached_quote_shows_nothing_of_what_it_quotes",
        "test_a_gate_that_is_taken_down_rules_nothing",
        "test_a_post_comes_with_its_author_counts_and_the_viewer_s_state",
        "test_a_profile_says_who_it_is_its_counts_and_how_it_stands_to_the_viewer",
        "test_a_repost_says_who_reposted",
        "test_a_mute_leaves_posts_and_reposts_out_of_the_timeline_and_nowhere_else",
        "test_a_thread_has_its_parents_and_replies_newest_first",
        "test_an_unlike_leaves_no_row_and_uncovers_the_next_duplicate",
        "test_blocks_are_found_from_both_sides",
        "test_followers_are_paged_across_their_buckets_in_order",
        "test_follows_are_counted_on_both_sides",
        "test_records_taken_down_are_not_shown",
        "test_replies_and_quotes_each_count",
        "test_the_deletion_of_an_account_removes_its_records_from_every_view",
        "test_typeahead_finds_handles_by_their_beginning_and_names_by_their_words",
        "test_who_may_quote_is_told_so",
    )
)


def pytest_generate_tests(metafunc):
    if metafunc.function.__name__ in ON_CQL and "world" in metafunc.fixturenames:
        stores = ["sqlite", pytest.param("cql", marks=pytest.mark.cluster)]
        metafunc.parametrize("store", stores, indirect=True)


@pytest.fixture
async def store(request, tmp_path):
    if getattr(request, "param", "sqlite") == "cql":
        async with request.getfixturevalue("views_keyspace").store() as made:
            yield made
        return
    made = SqliteStore(tmp_path / "views.sqlite", [view.table for view in ALL])
    yield made
    await made.close()


@pytest.fixture
def world(store):
    return World(store)


@asynccontextmanager
async def fresh_store(tmp_path_factory):
    """For properties, where a fixture would be shared by all examples."""
    made = SqliteStore(tmp_path_factory.mktemp("views") / "views.sqlite", [view.table for view in ALL])
    try:
        yield made
    finally:
        await made.close()
