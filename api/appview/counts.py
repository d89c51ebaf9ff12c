"""How many follow an account, it follows, and it posted: three statements an account."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from api.appview.late import Part
from api.appview.loader import Loader
from views import author_feed, followers, follows_by_actor

# followers, follows, posts
Counts = dict[str, tuple[int, int, int]]


async def load_counts(loaded: Loader, dids: Iterable[str], into: Counts) -> None:
    """Nothing when they are late."""
    await loaded.optional(Part.PROFILE_COUNTS, partial(_load, loaded, list(dids), into))


async def _load(loaded: Loader, wanted: list[str], into: Counts) -> None:
    statics = loaded.store.statics
    follower = await statics(followers.TABLE, [(did, 0) for did in wanted])
    follow = await statics(follows_by_actor.TABLE, [(did,) for did in wanted])
    post = await statics(author_feed.TABLE, [(did, author_feed.POSTS_WITH_REPLIES) for did in wanted])
    for did, *rows in zip(wanted, follower, follow, post, strict=True):
        a, b, c = (0 if row is None else row[0] for row in rows)
        into[did] = (a, b, c)
