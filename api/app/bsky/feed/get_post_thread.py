"""app.bsky.feed.getPostThread: a post, what it answers up to the root, and the replies below it, newest first. HOT.

A reply that violates the thread's gate is not among the replies; asked for, it stands alone.
"""

from __future__ import annotations

from api.appview.gates import violates
from api.appview.loader import PARENT, ROOT, Loader
from api.appview.pins import own_pin
from api.appview.present_post import Posts, blocked_post, not_found_post
from api.appview.reader import AppViewReader
from api.appview.root_likes import load_root_likes
from api.appview.rules import others_block, viewer_blocks, visible_post
from api.appview.threads import DEEPEST, Thread, read_thread
from api.xrpc import Auth, Ctx, Endpoint
from schemas.errors import XrpcError
from views.record import LIKE
from views.table import Row

_OPENING = b'{"$type":"app.bsky.feed.defs#threadViewPost","post":'

RootLikes = dict[str, Row | None]


async def skeleton(reader: AppViewReader, loaded: Loader, uri: str, height: int, depth: int) -> Thread:
    anchor = await reader.resolve_uri(uri)
    await loaded.only_posts((anchor,))
    row = loaded.posts[anchor]
    if row is None:
        raise _not_found(anchor)
    return await read_thread(loaded, anchor, row, height, depth)


async def hydrate(loaded: Loader, thread: Thread) -> RootLikes:
    authors = loaded.authors
    shown = [thread.anchor, *thread.above]
    pairs = [(authors[below], authors[above]) for below, above in zip(shown, thread.above, strict=False)]
    for parent, replies in thread.below.items():
        shown += replies
        pairs += [(authors[parent], authors[reply]) for reply in replies]
    await loaded.load_posts(shown, pairs=pairs)
    return await load_root_likes(loaded, authors[thread.root], shown)


def rules(loaded: Loader, thread: Thread) -> None:
    """The anchor must be there; what stands around it is judged where it is shown."""
    if visible_post(loaded, thread.anchor) is None:
        raise _not_found(thread.anchor)


class _Presenter:
    def __init__(self, loaded: Loader, thread: Thread, likes: RootLikes, depth: int) -> None:
        self._loaded = loaded
        self._thread = thread
        self._likes = likes
        self._depth = depth
        self._posts = Posts(loaded, own_pin(loaded))

    def thread(self) -> bytes:
        loaded, anchor = self._loaded, self._thread.anchor
        if viewer_blocks(loaded, loaded.authors[anchor]):
            return blocked_post(loaded, anchor)
        row = visible_post(loaded, anchor)
        assert row is not None, "rules let no other pass"
        parts = [self._open(anchor, row)]
        if violates(loaded, anchor, row):
            return parts[0] + b"}"
        self._parents(anchor, parts)
        if self._depth > 0:
            parts.append(b',"replies":[%b]' % self._replies(anchor, self._depth))
        parts.append(b"}")
        return b"".join(parts)

    def _open(self, uri: str, row: Row) -> bytes:
        like = self._likes.get(uri)
        context = (
            b""
            if like is None
            else b'"rootAuthorLike":"at://%s/%s/%s"' % tuple(part.encode() for part in (like[0], LIKE, like[3]))
        )
        return b'%b%b,"threadContext":{%b}' % (_OPENING, self._posts.post(uri, row), context)

    def _parents(self, child: str, parts: list[bytes]) -> None:
        """Members that lead upwards; each parent stands within its child."""
        loaded, root = self._loaded, self._thread.root
        open_ends = 0
        for uri in self._thread.above:
            row = visible_post(loaded, uri)
            view: bytes | None = None
            if others_block(loaded, loaded.authors[child], loaded.authors[uri]):
                view = blocked_post(loaded, uri)
            elif row is None:
                view = not_found_post(uri)
            elif (row[ROOT] or uri) != root:
                break  # another thread
            elif viewer_blocks(loaded, loaded.authors[uri]):
                view = blocked_post(loaded, uri)
            if view is not None or row is None:
                parts.append(b',"parent":%b' % (view or b"null"))
                break
            parts.append(b',"parent":%b' % self._open(uri, row))
            open_ends += 1
            child = uri
        parts.append(b"}" * open_ends)

    def _replies(self, parent: str, depth: int) -> bytes:
        loaded = self._loaded
        by = loaded.authors[parent]
        below = self._thread.below
        views = []
        for uri in below.get(parent, ()):
            row = visible_post(loaded, uri)
            author = loaded.authors[uri]
            if row is None or row[PARENT] != parent or others_block(loaded, author, by):
                continue
            if violates(loaded, uri, row):
                continue
            if viewer_blocks(loaded, author):
                views.append(blocked_post(loaded, uri))
            elif depth > 1:
                nested = self._replies(uri, depth - 1) if uri in below else b""
                views.append(b'%b,"replies":[%b]}' % (self._open(uri, row), nested))
            else:
                views.append(self._open(uri, row) + b"}")
        return b",".join(views)


def present(loaded: Loader, thread: Thread, likes: RootLikes, depth: int) -> bytes:
    return b'{"thread":%b}' % _Presenter(loaded, thread, likes, depth).thread()


def _not_found(uri: str) -> XrpcError:
    return XrpcError("NotFound", f"Post not found: {uri}")


async def handle(ctx: Ctx) -> bytes:
    reader, params = ctx.services.appview, ctx.params
    loaded = reader.loader(ctx.viewer)
    depth = min(params["depth"], DEEPEST)
    thread = await skeleton(reader, loaded, params["uri"], params["parentHeight"], depth)
    likes = await hydrate(loaded, thread)
    rules(loaded, thread)
    return reader.send(present(loaded, thread, likes, depth))


ENDPOINT = Endpoint("app.bsky.feed.getPostThread", handle, Auth.OPTIONAL)
