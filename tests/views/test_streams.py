"""The same log gives the same views: in any batches, over any shards, doubled, delayed, compacted (invariants 5, 9)."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processors.batch import Stages
from processors.digest import digests
from schemas.entries import RecordEntry
from schemas.topics import shard_of
from views import ALL
from views.record import POST, authority

from .conftest import CID, World, did, fresh_store
from .test_timelines import TINY, naive, read_all

PEOPLE = [did(c) for c in "abcdefg"]


class Disturbed(Stages):
    """Hops that deliver late, across sources in any order, and again; each source's own order is kept."""

    def __init__(self, *args, dice, **kwargs):
        super().__init__(*args, **kwargs)
        self.dice = dice
        self.late = {}
        self.sent = []
        self.doubled = 0

    def send_edge(self, edge):
        to = shard_of(authority(edge.subject), self._shards)
        self.late.setdefault((to, edge.src[:2]), []).append(lambda: super(Disturbed, self).send_edge(edge))

    def send_fan(self, shard, fan):
        self.late.setdefault((shard, fan.src[:2]), []).append(lambda: super(Disturbed, self).send_fan(shard, fan))

    def release(self, share):
        """Append to the hops what was held back, and some of what was appended before."""
        for key in self.dice.sample(sorted(self.late), len(self.late)):
            for _ in range(len(self.late[key])):
                if self.dice.random() > share:
                    break
                send = self.late[key].pop(0)
                send()
                self.sent.append(send)
                if self.dice.random() < 0.3:
                    self.doubled += 1
                    self.dice.choice(self.sent)()

    async def feed(self, shard, entries):
        await self._index(shard, entries, self._overlay)
        self.release(0.7)
        await self._fold()
        self.release(0.7)
        await self._fan_out(self._overlay)

    async def settle(self):
        while any(self.late.values()) or self._edges or self._fans:
            self.release(1.0)
            await self._fold()
            await self._fan_out(self._overlay)


def network(world, dice, length):
    """Something of everything."""
    made = []
    for person in PEOPLE[:5]:
        world.account(person, f"{person[-24:].rstrip('a') or 'a'}.test")
    for number in range(length):
        who, whom = dice.choice(PEOPLE), dice.choice(PEOPLE)
        posts = [uri for uri in made if POST in uri]
        target = dice.choice(posts) if posts else None
        ref = {"uri": target, "cid": CID}
        kind = dice.choice(["post", "reply", "quote", "like", "like", "repost", "follow", "block", "delete", "delete"])
        key = dice.randint(0, length // 2)
        if kind == "post":
            made.append(world.post(who, key))
        elif kind == "reply" and target:
            made.append(world.post(who, key, reply={"root": ref, "parent": ref}))
        elif kind == "quote" and target:
            made.append(world.post(who, key, embed={"$type": "app.bsky.embed.record", "record": ref}))
        elif kind == "like" and target:
            made.append(world.like(who, key, target))
        elif kind == "repost" and target:
            made.append(world.repost(who, key, target))
        elif kind == "follow":
            made.append(world.follow(who, key, whom))
        elif kind == "block":
            made.append(world.block(who, key, whom))
        elif kind == "delete" and made:
            uri = made.pop(dice.randrange(len(made)))
            made = [each for each in made if each != uri]
            world.delete(uri)
        if number % 17 == 5:
            world.profile(who, displayName=f"Name {number % 3}")
        if number % 23 == 7:
            world.account(who, f"h{number % 4}.test", dice.choice(["active", "deactivated"]))
        if number % 41 == 11:
            world.delete_account(who)
            made = [uri for uri in made if authority(uri) != who]
            world.account(who, None)


def copy_log(world, other, keep=lambda _: True):
    """The same entries laid out in the other world's shards, in an order that keeps each account's own."""
    entries = sorted((entry for log in world.log.values() for entry in log), key=lambda entry: entry.time)
    other.live, other.time = dict(world.live), world.time
    for entry in filter(keep, entries):
        log = other.log[shard_of(entry.did, other.shards)]
        fields = {name: getattr(entry, name) for name in entry.__struct_fields__}
        offset = len(log) + 1
        log.append(type(entry)(**{**fields, "n": offset, "offset": offset}))


def compacted(world):
    newest = {}
    for log in world.log.values():
        for entry in log:
            key = (entry.did, entry.collection, entry.rkey) if isinstance(entry, RecordEntry) else (entry.did,)
            newest[key] = entry
    kept = {id(e) for e in newest.values() if not (isinstance(e, RecordEntry) and e.value is None)}
    return lambda entry: id(entry) in kept


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 30))
async def test_the_same_log_gives_the_same_views_however_it_is_run(tmp_path_factory, seed):
    dice = random.Random(seed)
    clean = World(None, 1, TINY)
    network(clean, dice, dice.randint(60, 150))
    want = None
    for shards, size, keep in [(1, None, None), (1, 1, None), (4, 3, None), (4, None, compacted(clean))]:
        async with fresh_store(tmp_path_factory) as store:
            world = World(store, shards, TINY)
            copy_log(clean, world, keep or (lambda _: True))
            await world.run(size, seed)
            got = digests(store, ALL)
            want = want or got
            assert got == want, [name for name in got if got[name] != want[name]]
            if keep is None:
                reader = dice.choice(PEOPLE)
                assert (await read_all(world, reader, 5))[0] == await naive(clean, reader)
    assert len(set(want.values())) > 4


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 30), shards=st.sampled_from([1, 3]))
async def test_a_doubled_and_delayed_stream_gives_the_views_of_a_clean_one(tmp_path_factory, seed, shards):
    dice = random.Random(seed)
    clean = World(None, 1, TINY)
    network(clean, dice, 100)
    async with fresh_store(tmp_path_factory) as calm, fresh_store(tmp_path_factory) as rough:
        world = World(calm, shards, TINY)
        copy_log(clean, world)
        await world.run()
        other = World(rough, shards, TINY)
        copy_log(clean, other)
        progress = await rough.progress()
        other.stages = Disturbed(other.plan, other.decoder, rough, progress, shards=shards, settings=TINY, dice=dice)
        await other.run(9, seed)
        other.stages.begin()
        await other.stages.settle()
        await rough.apply(other.stages.finish())

        got, want = digests(rough, ALL), digests(calm, ALL)
        assert got == want, [name for name in got if got[name] != want[name]]
        assert other.stages.doubled > 0
        assert other.stages.marks.dropped.total() >= other.stages.doubled
        for reader in PEOPLE:
            assert (await read_all(other, reader, 6))[0] == await naive(clean, reader)
