"""An author's newest posts and reposts, and whether each was pushed to timelines or is pulled by readers.

Holds the K newest and every pull row. Written by the consumer that writes `followers`, so that each (follow, post)
pair has one order.
"""

from __future__ import annotations

from collections.abc import Sequence

from views.big_authors import PARTITIONS
from views.big_authors import TABLE as BIG
from views.bucket import bucket
from views.overlay import Overlay
from views.record import POST, Record
from views.table import APPLIED, Row, Table, integer, newest_first, text
from views.view import REPOSTED, Edge, Folding, View

PUSH = 0
PULL = 1  # above PUSH: at equal versions the larger value wins, and pull must

TABLE = Table(
    "recent_by_author",
    "edges",
    partition=(text("did", "author or reposter"),),
    clustering=(newest_first(), text("uri", "the post"), text("reposter", "the reposter's DID; empty for an own post")),
    columns=(integer("mode", "PUSH or PULL"),),
    statics=(
        integer("trimmed_below", "highest sort_at of a push row ever trimmed; kept on delete"),
        integer("pulls", "pull rows"),
        APPLIED,
    ),
)


def _post(post: Record) -> Sequence[Row]:
    return ((post.did, post.sort_at, post.uri, "", PUSH),)


def _reposted(repost: Row) -> Sequence[Row]:
    actor, subject, sort_at = repost[0], repost[2], repost[4]
    return ((actor, sort_at, subject, actor, PUSH),)


async def _fold(edge: Edge, offset: int, overlay: Overlay, folding: Folding) -> None:
    """Decide push or pull when the post comes, and remember which (EXACTNESS 11 to 13)."""
    author = edge.subject
    statics = await overlay.statics(TABLE, (author,)) or (None, 0, 0)
    trimmed, pulls, applied = statics
    if applied >= offset:
        return
    touched = False
    size, pull_above = TABLE.key_size, folding.settings.pull_above
    followers, folded = await folding.follower_count(author)
    drops = []
    for key in edge.drops:
        old = await overlay.get(TABLE, key)
        overlay.delete(TABLE, key)
        if old is not None and old[size] == PULL:
            pulls -= 1
            touched = True
        else:
            drops.append(key[1:])
    # Follows behind this post were folded in before: this is a redo, and who was pushed to cannot be known any more.
    pull = followers > pull_above or folded >= offset
    for row in edge.puts:
        overlay.put(TABLE, (*row[:size], PULL if pull else PUSH))
    if pull and edge.puts:
        pulls += len(edge.puts)
        touched = True
    puts = () if pull else tuple((*row[1:size], author) for row in edge.puts)
    if followers and followers <= pull_above and (puts or drops):
        folding.send(await folding.followers(author), tuple(drops), puts)
    if edge.puts and offset % folding.settings.trim_every == 0:
        trimmed = await _trim(author, trimmed, overlay, folding.settings.backfill)
    if (trimmed, pulls) != statics[:2]:
        overlay.put_statics(TABLE, (author,), (trimmed, pulls, offset))
    # At every change, not at the first and last alone: a redo may pull what was pushed, and then the author stays here
    # though the torn batch took it away.
    if touched and pulls > 0:
        overlay.put(BIG, (bucket(author, PARTITIONS), author))
    elif touched:
        overlay.delete(BIG, (bucket(author, PARTITIONS), author))


async def _trim(author: str, trimmed: int | None, overlay: Overlay, keep: int) -> int | None:
    rows = await overlay.slice(TABLE, (author,), keep + _AT_ONCE)
    for row in rows[keep:]:
        if row[TABLE.key_size] == PUSH:
            overlay.delete(TABLE, row[: TABLE.key_size])
            trimmed = row[1] if trimmed is None else max(trimmed, row[1])
    return trimmed


_AT_ONCE = 300
VIEW = View(TABLE, rows={POST: _post, REPOSTED: _reposted}, fold=_fold)
