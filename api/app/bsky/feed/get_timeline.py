"""app.bsky.feed.getTimeline: what the accounts that the caller follows post and repost, newest first. HOT."""

from __future__ import annotations

from api.appview import feed
from api.appview.cursor import read_cursor, write_cursor
from api.appview.feed import Item, Repost
from api.appview.loader import Loader
from api.appview.pins import own_pin
from api.appview.present_post import Posts
from api.appview.reader import AppViewReader
from api.xrpc import Auth, Ctx, Endpoint
from views.follows_by_actor import uri as follow_uri
from views.record import REPOST
from views.table import Key


async def skeleton(
    reader: AppViewReader, loaded: Loader, viewer: str, after: Key | None, limit: int
) -> tuple[list[Item], Key | None]:
    page = await reader.timelines.page(viewer, after, limit)
    # What the page has read on the way need not be read again.
    loaded.posts.update(page.posts)
    loaded.follows.update({pair: None if row is None else follow_uri(row) for pair, row in page.follows.items()})
    items = []
    for _, uri, reposter, _ in page.items:
        repost = None
        if reposter:
            row = page.reposts[reposter, uri]
            repost = Repost(reposter, f"at://{reposter}/{REPOST}/{row[3]}", row[7], row[6])
        items.append(Item(uri, repost))
    return items, page.next


def rules(loaded: Loader, items: list[Item]) -> list[Item]:
    return [
        item
        for item in items
        if feed.is_there(loaded, item) and not feed.is_muted(loaded, item) and not feed.ancestors_block(loaded, item)
    ]


def present(loaded: Loader, items: list[Item], following: Key | None) -> bytes:
    listed = feed.present(loaded, Posts(loaded, own_pin(loaded)), items)
    if following is None:
        return b'{"feed":[%b]}' % listed
    return b'{"cursor":"%b","feed":[%b]}' % (write_cursor(following).encode(), listed)


async def handle(ctx: Ctx) -> bytes:
    reader = ctx.services.appview
    viewer = ctx.account
    loaded = reader.loader(viewer)
    after = read_cursor(ctx.params, int, str, str)
    items, following = await skeleton(reader, loaded, viewer, after, ctx.params["limit"])
    await feed.hydrate(loaded, items)
    return reader.send(present(loaded, rules(loaded, items), following))


ENDPOINT = Endpoint("app.bsky.feed.getTimeline", handle, Auth.ACCESS_OR_SERVICE)
