"""Posts as JSON: postView and what takes its place, joined of ready fragments. Pure. HOT.

Does not own feeds and threads, which put posts together. The byte 0x00 still stands for the base URL of images.
"""

from __future__ import annotations

import orjson

from api.appview import gates, present_actor, rules
from api.appview.late import Part
from api.appview.loader import QUOTE, ROOT, Loader
from schemas.datetimes import from_micros
from views import posts
from views.record import LIKE, POST, REPOST
from views.table import Row

_VIEW, _LABELS = posts.TABLE.index("view"), posts.TABLE.index("labels")
_QUOTES_DEEP = 2
_NO_COUNTS: Row = (0, 0, 0, 0, 0)
_STATE = b',"viewer":{"bookmarked":%b,"threadMuted":%b,"embeddingDisabled":'
_SAID = (b"false", b"true")
_NEUTRAL = _STATE % (_SAID[False], _SAID[False])
_TYPED = b'{"$type":"app.bsky.feed.defs#postView",'


class Posts:
    """Each account and each post of a request is put together once."""

    __slots__ = ("_authors", "_loaded", "_posts", "_typed", "pinned")

    def __init__(self, loaded: Loader, pinned: str | None = None) -> None:
        self._loaded = loaded
        self._authors: dict[str, bytes] = {}
        self._posts: dict[str, bytes] = {}
        self._typed: dict[str, bytes] = {}
        # What the viewer pinned, when that is known: it is said on the viewer's own posts.
        self.pinned = pinned

    def author(self, did: str) -> bytes:
        found = self._authors.get(did)
        if found is None:
            found = self._authors[did] = present_actor.basic(self._loaded, did)
        return found

    def post(self, uri: str, row: Row) -> bytes:
        """A postView."""
        found = self._posts.get(uri)
        if found is None:
            found = self._posts[uri] = self._make(uri, row)
        return found

    def typed(self, uri: str, row: Row) -> bytes:
        """A postView as a member of a union."""
        found = self._typed.get(uri)
        if found is None:
            found = self._typed[uri] = _TYPED + self.post(uri, row)[1:]
        return found

    def _make(self, uri: str, row: Row) -> bytes:
        view, quote, labels = row[_VIEW], row[QUOTE], row[_LABELS]
        loaded = self._loaded
        author = loaded.authors[uri]
        gate = None if row[ROOT] is not None else gates.threadgate(loaded, uri)
        return (b'%b%b,"author":%b,"bookmarkCount":0%b%b,"labels":[%b]%b}') % (
            view,
            b"" if quote is None else b',"embed":%b' % self._embed(uri, row, 1),
            self.author(author),
            self._counts(uri),
            b"" if loaded.viewer is None else self._viewer(uri, row, author),
            labels,
            b"" if gate is None else b',"threadgate":%b' % gate[gates.VIEW],
        )

    def _counts(self, uri: str) -> bytes:
        loaded = self._loaded
        try:
            likes, reposts, replies, quotes, _ = loaded.counts[uri] or _NO_COUNTS
        except KeyError:
            if Part.COUNTS in loaded.late:
                return b""
            raise
        return b',"replyCount":%d,"repostCount":%d,"likeCount":%d,"quoteCount":%d' % (replies, reposts, likes, quotes)

    def _viewer(self, uri: str, row: Row, author: str) -> bytes:
        loaded = self._loaded
        like, repost = loaded.likes.get(uri), loaded.reposts.get(uri)
        own = loaded.own
        state = _NEUTRAL
        if not own.nothing:
            state = _STATE % (_SAID[own.bookmarked(uri)], _SAID[own.mutes_thread(row[ROOT] or uri)])
        state += _SAID[gates.embedding_disabled(loaded, uri)]
        reply_disabled = gates.reply_disabled(loaded, uri, row)
        if reply_disabled is not None:
            state += b',"replyDisabled":true' if reply_disabled else b',"replyDisabled":false'
        if like is not None:
            state += f',"like":"at://{like[0]}/{LIKE}/{like[3]}"'.encode()
        if repost is not None:
            state += f',"repost":"at://{repost[0]}/{REPOST}/{repost[3]}"'.encode()
        if self.pinned is not None and author == loaded.viewer:
            state += b',"pinned":true' if self.pinned == uri else b',"pinned":false'
        return state + b"}"

    def _embed(self, uri: str, row: Row, depth: int) -> bytes:
        """The view of an embed that quotes a record, at this depth of quotes."""
        record = self._quoted(uri, row, depth)
        media = row[3]
        if media is None:
            return b'{"$type":"app.bsky.embed.record#view","record":%b}' % record
        return b'{"$type":"app.bsky.embed.recordWithMedia#view","media":%b,"record":{"record":%b}}' % (media, record)

    def _quoted(self, quoting: str, row: Row, depth: int) -> bytes:
        loaded = self._loaded
        uri: str = row[QUOTE]
        author = loaded.authors[quoting]
        if rules.quote_blocked(loaded, row, author):
            return b'{"$type":"app.bsky.embed.record#viewBlocked","uri":"%b","blocked":true,"author":%b}' % (
                uri.encode(),
                present_actor.blocked_author(loaded, loaded.authors[uri]),
            )
        if gates.may_not_quote(loaded, row, author, uri):
            return _detached(uri)
        quoted = rules.visible_post(loaded, uri) if f"/{POST}/" in uri else None
        if quoted is not None and gates.detached(loaded, quoting, uri):
            return _detached(uri)
        if quoted is None:
            return b'{"$type":"app.bsky.embed.record#viewNotFound","uri":"%b","notFound":true}' % uri.encode()
        by = loaded.authors[uri]
        opening, embed = _as_quoted(uri, quoted)
        if quoted[QUOTE] is not None and depth < _QUOTES_DEEP:
            embed = self._embed(uri, quoted, depth + 1)
        return b'{"$type":"app.bsky.embed.record#viewRecord",%b%b,"author":%b%b,"labels":[%b]}' % (
            opening,
            b',"embeds":[%b]' % embed if depth < _QUOTES_DEEP else b"",
            self.author(by),
            self._counts(uri),
            quoted[_LABELS],
        )


def _detached(uri: str) -> bytes:
    return b'{"$type":"app.bsky.embed.record#viewDetached","uri":"%b","detached":true}' % uri.encode()


def _as_quoted(uri: str, row: Row) -> tuple[bytes, bytes]:
    """(members of viewRecord, the view of its media or nothing): `record` is `value`, `embed` stands apart."""
    view: bytes = row[2]
    # {"uri":"...","cid":"...","record":...
    place = len(uri) + len(row[1]) + 19
    mark = b',"indexedAt":"%b"' % from_micros(row[8]).encode()
    if view.count(mark) == 1:
        head, _, tail = view.partition(mark)
        return b'%b"value":%b%b' % (head[1:place], head[place + 9 :], mark), tail[9:]
    # The record says the same words: only a parser can tell them apart, and something must stand for 0x00 in JSON.
    token = b"@"
    while token in view:
        token += b"@"
    whole = orjson.loads(view.replace(b"\x00", token) + b"}")
    embed = whole.pop("embed", None)
    members = orjson.dumps({"value" if name == "record" else name: value for name, value in whole.items()})[1:-1]
    return members.replace(token, b"\x00"), b"" if embed is None else orjson.dumps(embed).replace(token, b"\x00")


def blocked_post(loaded: Loader, uri: str) -> bytes:
    return b'{"$type":"app.bsky.feed.defs#blockedPost","uri":"%b","blocked":true,"author":%b}' % (
        uri.encode(),
        present_actor.blocked_author(loaded, loaded.authors[uri]),
    )


def not_found_post(uri: str) -> bytes:
    return b'{"$type":"app.bsky.feed.defs#notFoundPost","uri":"%b","notFound":true}' % uri.encode()
