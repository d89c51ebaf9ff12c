"""An account as the operator sees it: com.atproto.admin.defs#accountView."""

from __future__ import annotations

from typing import Any

from ingest.pds.accounts import AccountRow
from schemas.datetimes import from_micros


def account_view(row: AccountRow) -> dict[str, Any]:
    """`indexedAt` is when the account was made here."""
    view: dict[str, Any] = {"did": row.did, "handle": row.handle, "indexedAt": from_micros(row.created)}
    if row.email is not None:
        view["email"] = row.email
    return view
