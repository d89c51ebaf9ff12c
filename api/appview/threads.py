"""A thread's shape: which posts stand above and below one, from pointers alone. Does not own what is shown of them.

Bounded: a thread is read up to `READ_MOST` replies, shown up to `SHOWN_MOST`, and nested up to `DEEPEST` either way.
"""

from __future__ import annotations

from typing import NamedTuple

from api.appview.loader import PARENT, ROOT, Loader
from views import interactions, thread
from views.store import Store
from views.table import Row

READ_MOST = 1_000
SHOWN_MOST = 500
DEEPEST = 200  # parsers of JSON give up not far above twice this


class Thread(NamedTuple):
    anchor: str
    root: str
    above: list[str]
    """From the anchor's parent upwards; the last may not be there, or stand in another thread."""
    below: dict[str, list[str]]
    """Replies by what they answer, newest first."""


async def read_thread(loaded: Loader, anchor: str, row: Row, height: int, depth: int) -> Thread:
    store = loaded.store
    root = anchor if row[ROOT] is None else row[ROOT]
    replies = {uri: (parent, sort_at) for _, uri, parent, sort_at in await _replies(store, root, anchor)}
    above = await _above(loaded, row, replies, min(height, DEEPEST))
    children: dict[str, list[str]] = {}
    for uri, (parent, _) in replies.items():
        children.setdefault(parent, []).append(uri)
    below: dict[str, list[str]] = {}
    # Level by level, so that what is nearest to the anchor is shown when not all can be.
    left, level = SHOWN_MOST, [anchor]
    seen = {anchor, *above}
    for _ in range(min(depth, DEEPEST)):
        following: list[str] = []
        for parent in level:
            listed = sorted(
                (uri for uri in children.get(parent, ()) if uri not in seen), key=lambda uri: (-replies[uri][1], uri)
            )[: left - len(following)]
            if listed:
                below[parent] = listed
                following += listed
                seen.update(listed)
        left -= len(following)
        level = following
    return Thread(anchor, root, above, below)


async def _replies(store: Store, root: str, anchor: str) -> list[Row]:
    rows = await store.slice(thread.TABLE, (root,), limit=READ_MOST)
    if len(rows) < READ_MOST:
        return rows
    # Of a larger thread these are its first by URI, which is no order for readers: the anchor's newest come with them.
    known = {row[1] for row in rows}
    newest = await store.slice(interactions.TABLE, (anchor, interactions.REPLY), limit=SHOWN_MOST)
    return rows + [(root, row[4], anchor, row[2]) for row in newest if row[4] not in known]


async def _above(loaded: Loader, row: Row, replies: dict[str, tuple[str, int]], height: int) -> list[str]:
    above: list[str] = []
    uri = row[PARENT]
    while uri is not None and uri not in above and len(above) < height:
        above.append(uri)
        known = replies.get(uri)
        if known is not None:
            uri = known[0]
            continue
        # The root, a post that is gone, or one that a large thread's slice left out.
        await loaded.only_posts((uri,))
        found = loaded.posts[uri]
        uri = None if found is None else found[PARENT]
    return above
