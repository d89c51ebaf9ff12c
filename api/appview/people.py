"""Lists of accounts around a subject (followers, likers, blocked): hydrated, filtered and presented alike.

Does not own which accounts a list has.
"""

from __future__ import annotations

from collections.abc import Iterable

from api.appview import present_actor
from api.appview.loader import Loader
from api.appview.rules import account_shows, others_block, viewer_blocks


async def hydrate(loaded: Loader, dids: Iterable[str], subject: str | None = None, taken: Iterable[str] = ()) -> None:
    """`subject`: the account that all of them stand to; it is loaded with them. `taken`: the records that say so."""
    people = list(dids)
    pairs = [] if subject is None else [(subject, did) for did in people]
    await loaded.load_accounts(people if subject is None else [subject, *people], pairs=pairs, taken=taken)


def may_be_listed(loaded: Loader, did: str, subject: str | None = None) -> bool:
    """Known, active, not blocked by or blocking the viewer, nor the subject."""
    return (
        loaded.actors[did] is not None
        and account_shows(loaded, did)
        and not viewer_blocks(loaded, did)
        and (subject is None or not others_block(loaded, subject, did))
    )


def present(loaded: Loader, dids: Iterable[str]) -> bytes:
    """ProfileViews joined by commas."""
    return b",".join([present_actor.profile(loaded, did) for did in dids])


def page(cursor: str | None, members: bytes) -> bytes:
    """An answer of these members, with the cursor where there is more."""
    return b"{%b}" % members if cursor is None else b'{"cursor":"%b",%b}' % (cursor.encode(), members)
