"""app.bsky.feed.getAuthorFeed: what an account posts and reposts, newest first, by one of five filters. HOT."""

from __future__ import annotations

from typing import NamedTuple

from api.appview import feed
from api.appview.cursor import read_cursor, write_cursor
from api.appview.feed import Item, Repost
from api.appview.loader import PARENT, Loader
from api.appview.pins import own_pin, pinned_post
from api.appview.present_post import Posts
from api.appview.reader import AppViewReader, profile_not_found
from api.appview.rules import is_active, mute_of, visible_post
from api.xrpc import Auth, Ctx, Endpoint
from schemas.errors import XrpcError
from views import author_feed
from views.table import Key

_FILTERS = {
    "posts_with_replies": author_feed.POSTS_WITH_REPLIES,
    "posts_no_replies": author_feed.POSTS_NO_REPLIES,
    "posts_with_media": author_feed.POSTS_WITH_MEDIA,
    "posts_and_author_threads": author_feed.POSTS_AND_AUTHOR_THREADS,
    "posts_with_video": author_feed.POSTS_WITH_VIDEO,
}


class Skeleton(NamedTuple):
    did: str
    filter: int
    items: list[Item]
    following: Key | None


async def skeleton(
    reader: AppViewReader, loaded: Loader, *, actor: str, named: str, after: Key | None, limit: int, pins: bool
) -> Skeleton:
    did, row = await reader.account(actor, profile_not_found())
    if not is_active(row):
        raise profile_not_found()
    loaded.actors[did] = row
    # The filter's list is open: what nobody knows means all.
    which = _FILTERS.get(named, author_feed.POSTS_WITH_REPLIES)
    rows = await reader.store.slice(author_feed.TABLE, (did, which), after=after, limit=limit)
    items = [
        Item(uri, Repost(did, repost, cid, indexed_at) if repost else None)
        for _, _, _, uri, repost, cid, indexed_at in rows
    ]
    pin = pinned_post(did, row) if pins and after is None else None
    if pin is not None:
        items = [Item(pin, None, pinned=True), *(item for item in items if item.uri != pin)]
    return Skeleton(did, which, items, rows[-1][2:5] if len(rows) == limit else None)


async def hydrate(loaded: Loader, found: Skeleton) -> None:
    await feed.hydrate(loaded, found.items)
    await loaded.load_accounts((found.did,))


def rules(loaded: Loader, found: Skeleton) -> list[Item]:
    did, viewer = found.did, loaded.viewer
    if viewer is not None and viewer != did:
        if loaded.blocks[viewer, did] is not None:
            raise XrpcError("BlockedActor", f"Requester has blocked actor: {did}")
        if loaded.blocks[did, viewer] is not None:
            raise XrpcError("BlockedByActor", f"Requester is blocked by actor: {did}")
    items = [item for item in found.items if feed.is_there(loaded, item) and not _muted_repost(loaded, item)]
    if found.filter == author_feed.POSTS_AND_AUTHOR_THREADS:
        whole = _whole_threads(loaded, found.items)
        items = [item for item in items if item.repost is not None or item.pinned or item.uri in whole]
    return items


def _muted_repost(loaded: Loader, item: Item) -> bool:
    """Of somebody whom the viewer mutes altogether, by somebody whom the viewer does not: that one's feed was asked."""
    return (
        item.repost is not None
        and mute_of(loaded, loaded.authors[item.uri]) == 0
        and mute_of(loaded, item.repost.by) != 0
    )


def _whole_threads(loaded: Loader, items: list[Item]) -> set[str]:
    """Posts of the page whose ancestors up to the root are all on the page, and may be shown, as well."""
    own = {item.uri for item in items if item.repost is None and visible_post(loaded, item.uri) is not None}
    whole: set[str] = set()
    for start in own:
        chain: list[str] = []
        uri: str | None = start
        while uri is not None and uri in own and uri not in whole and uri not in chain:
            chain.append(uri)
            row = loaded.posts[uri]
            uri = None if row is None else row[PARENT]
        if uri is None or uri in whole:
            whole.update(chain)
    return whole


def present(loaded: Loader, items: list[Item], following: Key | None) -> bytes:
    listed = feed.present(loaded, Posts(loaded, own_pin(loaded)), items)
    if following is None:
        return b'{"feed":[%b]}' % listed
    return b'{"cursor":"%b","feed":[%b]}' % (write_cursor(following).encode(), listed)


async def handle(ctx: Ctx) -> bytes:
    reader, params = ctx.services.appview, ctx.params
    loaded = reader.loader(ctx.viewer)
    found = await skeleton(
        reader,
        loaded,
        actor=params["actor"],
        named=params["filter"],
        after=read_cursor(params, int, str, str),
        limit=params["limit"],
        pins=params["includePins"],
    )
    await hydrate(loaded, found)
    return reader.send(present(loaded, rules(loaded, found), found.following))


ENDPOINT = Endpoint("app.bsky.feed.getAuthorFeed", handle, Auth.OPTIONAL)
