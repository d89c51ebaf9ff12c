"""What the sync reads share: who may see a hidden repo, and cursors that are numbers."""

from __future__ import annotations

from api.errors import invalid_request
from api.xrpc import Ctx, Kind

CAR = "application/vnd.ipld.car"


def as_owner(ctx: Ctx) -> bool:
    """Whether the caller is the admin, or the account that `did` names."""
    auth = ctx.auth
    return auth is not None and (auth.kind is Kind.ADMIN or auth.did == ctx.params["did"])


def number_of(cursor: str | None) -> int:
    """Where to go on; 0 for the start."""
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise invalid_request("cursor: expected the one that the page before gave")
    return int(cursor)
