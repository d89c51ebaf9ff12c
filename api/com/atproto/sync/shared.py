"""What the sync reads share: who may see a hidden repo."""

from __future__ import annotations

from api.xrpc import Ctx, Kind

CAR = "application/vnd.ipld.car"


def as_owner(ctx: Ctx) -> bool:
    """Whether the caller is the admin, or the account that `did` names."""
    auth = ctx.auth
    return auth is not None and (auth.kind is Kind.ADMIN or auth.did == ctx.params["did"])
