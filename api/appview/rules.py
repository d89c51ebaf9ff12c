"""What a viewer may see: states of accounts, blocks both ways, takedowns, the viewer's mutes.

Pure, over what a request has loaded.

A block hides two accounts from each other; a block between two others hides how they stand to one another (a reply from
its parent, a quote from what it quotes), for every reader.
"""

from __future__ import annotations

from api.appview.loader import QUOTE, Loader
from schemas.errors import XrpcError
from views import actors
from views.table import Row

_STATUS = actors.TABLE.index("status")
# Throttled and desynchronized accounts are behind, not gone: https://atproto.com/specs/account
HIDDEN = frozenset(("deactivated", "deleted", "suspended", "takendown"))


def is_active(row: Row | None) -> bool:
    """Whether the account may be shown; one that nothing is said of yet may."""
    return row is None or row[_STATUS] not in HIDDEN


def account_shows(loaded: Loader, did: str) -> bool:
    return is_active(loaded.actors[did])


def viewer_blocks(loaded: Loader, did: str) -> bool:
    """Whether the viewer and `did` block one another, either way."""
    return did in loaded.blocked


def mute_of(loaded: Loader, did: str) -> int | None:
    """What of an account the viewer mutes, as bits of `schemas.operations`: 0 all; None when nothing."""
    return None if loaded.own.nothing else loaded.own.mute(did)


def others_block(loaded: Loader, one: str, other: str) -> bool:
    if one == other:
        return False
    blocks = loaded.blocks
    return blocks[one, other] is not None or blocks[other, one] is not None


def visible_post(loaded: Loader, uri: str) -> Row | None:
    """The post's row, if it is there, not taken down, and its author's account shows; blocks are judged apart."""
    visible = loaded.visible
    if uri in visible:
        return visible[uri]
    row = loaded.posts.get(uri)
    if row is not None and (loaded.taken[uri] is not None or not is_active(loaded.actors[loaded.authors[uri]])):
        row = None
    visible[uri] = row
    return row


def quote_blocked(loaded: Loader, row: Row, author: str) -> bool:
    quoted = loaded.authors[row[QUOTE]]
    return viewer_blocks(loaded, quoted) or others_block(loaded, author, quoted)


def check_account(row: Row | None) -> None:
    """Raises the error of an account that may not be shown."""
    if is_active(row):
        return
    assert row is not None
    if row[_STATUS] == "deactivated":
        raise XrpcError("AccountDeactivated", "Account is deactivated")
    raise XrpcError("AccountTakedown", "Account has been suspended")
