"""A like that is put, moved and taken back in three messages of `edges`, the batch of which is torn and cut otherwise.

The message that moves it changes no count, so that nothing but its version says that it is late. The same on every
store; what must come of it is said in the tests.
"""

from __future__ import annotations

import random

from processors.decode import Decoder
from processors.lanes.hop_codec import encode_edge
from processors.lanes.lane import Lane
from processors.lanes.stages import Message
from schemas.topics import EDGES
from tests.support.lane_rig import CATALOGUE, PLAN, Killed, MemoryHops
from views.interactions import LIKE, TABLE
from views.store import Batch
from views.view import Edge, FanoutSettings

ACTOR = "did:plc:" + "a" * 24
SUBJECT = f"at://did:plc:{'b' * 24}/app.bsky.feed.post/3jzfcijpj2z2a"
URI = f"at://{ACTOR}/app.bsky.feed.like/3jzfcijpj2z2b"


def _row(sort_at: int, subject: str = SUBJECT) -> tuple:
    return (subject, LIKE, sort_at, ACTOR, URI, sort_at, sort_at, "cid")


def messages() -> list[Message]:
    """Of another subject the first: a lane that has saved nothing looks at nothing that is there."""
    first, second = _row(1_000), _row(2_000)
    other = SUBJECT[:-1] + "b"
    edges = [
        Edge(("records", 0, 6, 0), TABLE.name, other, (), (_row(500, other),), (other,), ((LIKE, 1),)),
        Edge(("records", 0, 7, 0), TABLE.name, SUBJECT, (), (first,), (SUBJECT,), ((LIKE, 1),)),
        Edge(("records", 0, 8, 0), TABLE.name, SUBJECT, (first[: TABLE.key_size],), (second,)),
        Edge(("records", 0, 9, 0), TABLE.name, SUBJECT, (second[: TABLE.key_size],), (), (SUBJECT,), ((LIKE, -1),)),
    ]
    return [Message(offset, None, encode_edge(edge)) for offset, edge in enumerate(edges, 1)]


class Without:
    """A store that takes part in nothing but rows until `whole`; `versions=False` lets the last writer win."""

    def __init__(self, store, *, versions: bool) -> None:
        self._store = store
        self._versions = versions
        self._batches = 100
        self.whole = False
        self.get_many, self.slice, self.statics = store.get_many, store.slice, store.statics
        self.progress_of, self.reach = store.progress_of, store.reach

    async def apply(self, batch: Batch) -> None:
        self._batches += 1
        if not self._versions:
            for partitions in batch.versions.values():
                for versions in partitions.values():
                    versions.update(dict.fromkeys(versions, self._batches))
            for versions in batch.static_versions.values():
                versions.update(dict.fromkeys(versions, self._batches))
        if self.whole:
            await self._store.apply(batch)
            return
        batch.vector, batch.marks, batch.watermarks = {}, {}, {}
        await self._store.apply(batch)
        raise Killed


async def torn_and_redone(store, *, versions: bool) -> tuple[list, tuple]:
    """The likes and the statics of the subject, after its three messages were taken: at once, torn; then 2 and 1."""
    other, *three = messages()
    between = Without(store, versions=versions)
    between.whole = True
    lane = await _lane(between)
    await lane.take([other])
    between.whole = False
    try:
        await lane.take(three)
    except Killed:
        between.whole = True
    assert between.whole, "the batch was not torn"
    lane = await _lane(between)
    assert lane.offset == 1, "progress was saved of a torn batch"
    await lane.take(three[:2])
    await lane.take(three[2:])
    (statics,) = await store.statics(TABLE, [(SUBJECT,)])
    return await store.slice(TABLE, (SUBJECT,), limit=10), statics


async def _lane(store) -> Lane:
    lane = Lane(
        EDGES,
        0,
        shards=1,
        plan=PLAN,
        decoder=Decoder(CATALOGUE, PLAN.collections),
        store=store,
        hops=MemoryHops(random.Random(0)),
        settings=FanoutSettings(),
    )
    await lane.open()
    return lane
