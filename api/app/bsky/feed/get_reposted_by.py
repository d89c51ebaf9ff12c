"""app.bsky.feed.getRepostedBy: who reposted a post, newest first. `cid` is echoed, as in getLikes."""

from __future__ import annotations

from api.appview import people
from api.appview.cursor import read_cursor, write_cursor
from api.appview.loader import Loader
from api.appview.reactions import ACTOR, echoed, hydrate, rules, skeleton
from api.xrpc import Auth, Ctx, Endpoint
from views import interactions
from views.table import Row


def present(loaded: Loader, asked: bytes, rows: list[Row], cursor: str | None) -> bytes:
    listed = people.present(loaded, [row[ACTOR] for row in rows])
    return people.page(cursor, b'%b,"repostedBy":[%b]' % (asked, listed))


async def handle(ctx: Ctx) -> bytes:
    reader, params = ctx.services.appview, ctx.params
    loaded = reader.loader(ctx.viewer)
    found = await skeleton(
        reader, params["uri"], interactions.REPOST, read_cursor(params, int, str, str), params["limit"]
    )
    await hydrate(loaded, found)
    cursor = None if found.following is None else write_cursor(found.following)
    return reader.send(present(loaded, echoed(params), rules(loaded, found), cursor))


ENDPOINT = Endpoint("app.bsky.feed.getRepostedBy", handle, Auth.OPTIONAL)
