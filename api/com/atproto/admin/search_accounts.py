"""com.atproto.admin.searchAccounts: accounts of this PDS in order of creation; `email` is part of an address.

A page may have fewer than `limit`, or none, and yet a cursor: a search looks at so many rows and no more.
"""

from __future__ import annotations

from typing import Any

from api.com.atproto.admin.shared import account_view
from api.errors import invalid_request
from api.xrpc import Answer, Auth, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    params = ctx.params
    page, after = ctx.services.pds.operators.search(params.get("email"), _place(params.get("cursor")), params["limit"])
    answer: dict[str, Any] = {"accounts": [account_view(row) for row in page]}
    if after is not None:
        answer["cursor"] = f"{after[0]}::{after[1]}"
    return answer


def _place(cursor: str | None) -> tuple[int, str]:
    if cursor is None:
        return -1, ""
    created, _, did = cursor.partition("::")
    if not created.isascii() or not created.isdigit() or len(created) > 18:
        raise invalid_request("Malformed cursor")
    return int(created), did


ENDPOINT = Endpoint("com.atproto.admin.searchAccounts", handle, Auth.ADMIN)
