"""Who follows an account, newest first: one row a follower, in buckets, with the count in bucket 0.

`page` reads across the buckets.
"""

from __future__ import annotations

from collections.abc import Sequence

from views.bucket import bucket
from views.fold import fold_rows
from views.overlay import Overlay
from views.recent_by_author import PUSH
from views.recent_by_author import TABLE as RECENT
from views.record import FOLLOW
from views.store import Store
from views.table import APPLIED, Key, Row, Table, integer, newest_first, text
from views.view import FOLLOWED, Edge, Folding, View

BUCKETS = 4

TABLE = Table(
    "followers",
    "edges",
    partition=(text("did", "who is followed"), integer("bucket", "`bucket(actor)`; statics are in 0")),
    clustering=(newest_first(), text("actor", "who follows")),
    columns=(text("uri", "of the follow that counts"),),
    statics=(integer("followers_count", "distinct followers, in bucket 0"), APPLIED),
)


def _rows(follow: Row) -> Sequence[Row]:
    actor, subject, rkey, sort_at, _ = follow
    return ((subject, bucket(actor, BUCKETS), sort_at, actor, f"at://{actor}/{FOLLOW}/{rkey}"),)


def _tally(follow: Row) -> Sequence[tuple[Key, int]]:
    return (((follow[1], 0), 0),)


async def _fold(edge: Edge, offset: int, overlay: Overlay, folding: Folding) -> None:
    """Besides the rows: a new follower is given the newest posts, in the one order of posts and follows."""
    if not await fold_rows(TABLE, edge, offset, overlay):
        folding.followers_unknown(edge.subject)
        return
    gone = {key[_ACTOR] for key in edge.drops}
    come = {row[_ACTOR] for row in edge.puts}
    folding.followers_changed(edge.subject, gone - come, come - gone)
    for reader in come - gone:
        await _fill(edge.subject, reader, overlay, folding)


async def _fill(author: str, reader: str, overlay: Overlay, folding: Folding) -> None:
    keep = folding.settings.backfill
    recent = await overlay.slice(RECENT, (author,), keep + 1)
    statics = await overlay.statics(RECENT, (author,))
    complete_since: int | None = statics[0] if statics is not None else None
    if len(recent) > keep:
        first_not_sent: int = recent[keep][1]
        complete_since = first_not_sent if complete_since is None else max(complete_since, first_not_sent)
    puts = tuple((*row[1:4], author) for row in recent[:keep] if row[4] == PUSH)
    if puts or complete_since is not None:
        folding.send({reader: folding.shard_of(reader)}, (), puts, complete_since)


async def page(store: Store, did: str, after: Key | None, limit: int) -> list[Row]:
    """At most `limit` rows, newest first, from all buckets; `after` is (sort_at, actor) of the last row had."""
    slices = [await store.slice(TABLE, (did, each), after=after, limit=limit) for each in range(BUCKETS)]
    rows = [row for part in slices for row in part]
    rows.sort(key=lambda row: (-row[2], row[3]))
    return rows[:limit]


_ACTOR = TABLE.index("actor")
VIEW = View(TABLE, rows={FOLLOWED: _rows}, tallies={FOLLOWED: _tally}, fold=_fold)
