"""Accounts as JSON: profileViewBasic, profileView, profileViewDetailed, joined of ready fragments. Pure. HOT.

Does not own which accounts are shown (`appview.rules`). The byte 0x00 still stands for the base URL of images.
"""

from __future__ import annotations

import orjson

from api.appview.loader import Loader, profile_uri
from api.appview.rules import mute_of
from schemas.operations import ONLY_QUOTES, ONLY_REPOSTS
from views.table import Row

_NOBODY: Row = (None, None, "active", 0, "", b"", b"", b"", b"", None, None, None)
_NO_LISTS = b'"lists":0,"feedgens":0,"starterPacks":0,"labeler":false,'
_MUTED = tuple(
    b',"viewer":{"muted":%b,"mutedOnlyReposts":%b,"mutedOnlyQuoteposts":%b,"blockedBy":'
    % tuple(b"true" if each else b"false" for each in (not bits, bits & ONLY_REPOSTS, bits & ONLY_QUOTES))
    for bits in range(4)
)
_UNMUTED = _MUTED[0].replace(b"true", b"false")
_ASSOCIATED = b'"activitySubscription":{"allowSubscriptions":"followers"}'


def basic(loaded: Loader, did: str) -> bytes:
    """A profileViewBasic."""
    row = _row(loaded, did)
    return b"%b%b%b}" % (_opening(did, row), _associated(row, b""), _viewer(loaded, did, row))


def profile(loaded: Loader, did: str) -> bytes:
    """A profileView."""
    row = _row(loaded, did)
    return b"%b%b%b%b}" % (_opening(did, row), row[6], _associated(row, b""), _viewer(loaded, did, row))


def detailed(loaded: Loader, did: str, counts: tuple[int, int, int] | None) -> bytes:
    """A profileViewDetailed; `counts` are of followers, follows and posts, None when they are late."""
    row = _row(loaded, did)
    return b"%b%b%b%b%b%b}" % (
        _opening(did, row),
        row[6],
        row[7],
        _associated(row, _NO_LISTS),
        _viewer(loaded, did, row),
        b"" if counts is None else b',"followersCount":%d,"followsCount":%d,"postsCount":%d' % counts,
    )


def blocked_author(loaded: Loader, did: str) -> bytes:
    """A blockedAuthor: who it is, and which way the block goes."""
    viewer = loaded.viewer
    if viewer is None or viewer == did:
        return orjson.dumps({"did": did})
    state = {"blockedBy": loaded.blocks.get((did, viewer)) is not None}
    ours = loaded.blocks.get((viewer, did))
    return orjson.dumps({"did": did, "viewer": state if ours is None else {**state, "blocking": ours}})


def _row(loaded: Loader, did: str) -> Row:
    row = loaded.actors[did] or _NOBODY
    if row[9] is not None and loaded.taken[profile_uri(did)] is not None:
        # The record is down, the account is not.
        return (*row[:4], *_NOBODY[4:10], *row[10:])
    return row


def _opening(did: str, row: Row) -> bytes:
    return b'{"did":"%b","handle":"%b"%b' % (did.encode(), (row[1] or "handle.invalid").encode(), row[5])


def _associated(row: Row, more: bytes) -> bytes:
    chat, subscriptions = row[10], row[11]
    if chat is None and subscriptions is None:
        return b',"associated":{%b%b}' % (more, _ASSOCIATED)
    said = _ASSOCIATED
    if subscriptions is not None:
        said = b'"activitySubscription":%b' % orjson.dumps({"allowSubscriptions": subscriptions})
    if chat is not None:
        said += b',"chat":%b' % orjson.dumps({"allowIncoming": chat})
    return b',"associated":{%b%b}' % (more, said)


def _viewer(loaded: Loader, did: str, row: Row) -> bytes:
    labels = row[8]
    viewer = loaded.viewer
    if viewer is None:
        return b',"labels":[%b]' % labels
    if viewer == did:
        return b'%bfalse},"labels":[%b]' % (_UNMUTED, labels)
    ways = (viewer, did), (did, viewer)
    ours, theirs = loaded.blocks[ways[0]], loaded.blocks[ways[1]]
    state = "false" if theirs is None else "true"
    if ours is not None:
        state = f'{state},"blocking":"{ours}"'
    elif theirs is None:
        # Who blocks and is blocked follows nobody.
        following, followed_by = loaded.follows.get(ways[0]), loaded.follows.get(ways[1])
        if following is not None:
            state = f'{state},"following":"{following}"'
        if followed_by is not None:
            state = f'{state},"followedBy":"{followed_by}"'
    mute = mute_of(loaded, did)
    opening = _UNMUTED if mute is None else _MUTED[mute & 3]
    return b'%b%b},"labels":[%b]' % (opening, state.encode(), labels)
