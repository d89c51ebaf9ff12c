"""What an account's clients keep at their PDS (`app.bsky.actor.putPreferences`): one list an account, put as a whole.

Private, and in no repo nor log: it lies beside the credentials, goes into a backup with them and goes with the account.
Does not own what a preference means: a client's newer kinds are kept as they are.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from ingest.pds.accounts import Accounts
from ingest.pds.refusals import invalid_request
from schemas import data
from schemas.limits import PREFERENCES_MAX

_NAMESPACE: Final = "app.bsky."


class Preferences:
    """Of the accounts of this PDS; who may ask is the caller's to know."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def get(self, did: str) -> list[Any]:
        """As JSON, in the order in which they were put; none for who has put none."""
        found = self._accounts.read("SELECT items FROM preferences WHERE did = ?", (did,))
        return list(orjson.loads(found[0][0])) if found else []

    async def put(self, did: str, items: list[Any]) -> None:
        """Replace all of them (of the data model), durable when it returns. Raises XrpcError InvalidRequest.

        Of two at once the later one holds: clients read, change and put.
        """
        for item in items:
            kind = item.get("$type") if isinstance(item, dict) else None
            if not isinstance(kind, str):
                raise invalid_request("Preference is missing a $type")
            if not kind.startswith(_NAMESPACE):
                raise invalid_request(f"Some preferences are not in the app.bsky namespace: {kind}"[:200])
        said = data.dumps(items)
        if len(said) > PREFERENCES_MAX:
            raise invalid_request(f"Preferences are {len(said)} bytes, expected at most {PREFERENCES_MAX}")
        sql = "INSERT OR REPLACE INTO preferences VALUES (?, ?)"
        await self._accounts.write(lambda db: db.execute(sql, (did, said)))
