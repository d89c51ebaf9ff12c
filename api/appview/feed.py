"""Feed items: a post, why it is there, what it answers. Shared by the endpoints that list posts as feeds.

Does not own which items a feed has. HOT.
"""

from __future__ import annotations

from typing import NamedTuple

from api.appview import gates, rules
from api.appview.loader import PARENT, QUOTE, ROOT, Loader
from api.appview.present_post import Posts, blocked_post, not_found_post
from schemas.datetimes import from_micros
from schemas.operations import ONLY_QUOTES, ONLY_REPOSTS
from views.table import Row


class Repost(NamedTuple):
    by: str
    uri: str
    cid: str
    indexed_at: int


class Item(NamedTuple):
    uri: str
    repost: Repost | None = None
    pinned: bool = False


async def hydrate(loaded: Loader, items: list[Item]) -> None:
    reposts = [item.repost for item in items if item.repost is not None]
    await loaded.load_posts(
        [item.uri for item in items],
        context=True,
        accounts=[repost.by for repost in reposts],
        taken=[repost.uri for repost in reposts],
    )


def is_there(loaded: Loader, item: Item) -> bool:
    """Whether post and repost may be shown and neither's account and the viewer block one another."""
    if rules.visible_post(loaded, item.uri) is None or rules.viewer_blocks(loaded, loaded.authors[item.uri]):
        return False
    repost = item.repost
    return repost is None or (
        loaded.taken[repost.uri] is None
        and rules.account_shows(loaded, repost.by)
        and not rules.viewer_blocks(loaded, repost.by)
    )


def is_muted(loaded: Loader, item: Item) -> bool:
    """Whether the viewer mutes the post's author, who reposts it, or what this is of theirs."""
    if loaded.own.nothing:
        return False
    author = rules.mute_of(loaded, loaded.authors[item.uri])
    if author is not None:
        row = loaded.posts[item.uri]
        if not author or (author & ONLY_QUOTES and row is not None and row[QUOTE] is not None):
            return True
    by = None if item.repost is None else rules.mute_of(loaded, item.repost.by)
    return by is not None and (not by or bool(by & ONLY_REPOSTS))


def ancestors_block(loaded: Loader, item: Item) -> bool:
    """Whether the author of the post's parent, or of that one's parent, and the viewer block one another."""
    if not loaded.blocked:
        return False
    row = loaded.posts[item.uri]
    for _ in range(2):
        if row is None or row[PARENT] is None:
            return False
        if rules.viewer_blocks(loaded, loaded.authors[row[PARENT]]):
            return True
        row = loaded.posts.get(row[PARENT])
    return False


def present(loaded: Loader, posts: Posts, items: list[Item]) -> bytes:
    """The feedViewPosts of items that are there, joined by commas."""
    rows = loaded.posts
    parts: list[bytes] = []
    for item in items:
        uri, repost, pinned = item
        row = rows[uri]
        assert row is not None, "items without a row were filtered out"
        parts.append(b',{"post":' if parts else b'{"post":')
        parts.append(posts.post(uri, row))
        if row[PARENT] is not None and not gates.violates(loaded, uri, row):
            _reply(loaded, posts, uri, row, parts)
        if repost is not None:
            parts.append(
                b',"reason":{"$type":"app.bsky.feed.defs#reasonRepost","by":%b,"uri":"%b","cid":"%b","indexedAt":"%b"}'
                % (
                    posts.author(repost.by),
                    repost.uri.encode(),
                    repost.cid.encode(),
                    from_micros(repost.indexed_at).encode(),
                )
            )
        elif pinned:
            parts.append(b',"reason":{"$type":"app.bsky.feed.defs#reasonPin"}')
        parts.append(b"}")
    return b"".join(parts)


def _reply(loaded: Loader, posts: Posts, uri: str, row: Row, parts: list[bytes]) -> None:
    """The replyRef of a post that is a reply."""
    authors = loaded.authors
    author, parent_uri, root_uri = authors[uri], row[PARENT], row[ROOT]
    parent, root = rules.visible_post(loaded, parent_uri), rules.visible_post(loaded, root_uri)
    root_blocked = rules.others_block(loaded, author, authors[root_uri])
    if parent is not None and parent[PARENT] is not None and not root_blocked:
        root_blocked = rules.others_block(loaded, authors[parent_uri], authors[parent[ROOT]])
    above = authors[parent_uri]
    parent_blocked = rules.others_block(loaded, author, above) or rules.viewer_blocks(loaded, above)
    parts.append(b',"reply":{"root":')
    parts.append(_referred(loaded, posts, root_uri, root, blocked=root_blocked))
    parts.append(b',"parent":')
    parts.append(_referred(loaded, posts, parent_uri, parent, blocked=parent_blocked))
    if parent is not None and parent[PARENT] is not None and not parent_blocked:
        grandparent = authors[parent[PARENT]]
        # An account that nothing is known of may as well be no account.
        if loaded.actors[grandparent] is not None and rules.account_shows(loaded, grandparent):
            parts += (b',"grandparentAuthor":', posts.author(grandparent))
    parts.append(b"}")


def _referred(loaded: Loader, posts: Posts, uri: str, row: Row | None, *, blocked: bool) -> bytes:
    if row is None:
        return not_found_post(uri)
    if blocked or rules.viewer_blocks(loaded, loaded.authors[uri]):
        return blocked_post(loaded, uri)
    return posts.typed(uri, row)
