"""The accounts that a relay has seen of hosts, as its log holds them, and the takedown that an operator lays over one.

`ingest.relay.directory.AccountDirectory` and `AccountAdmin`. Does not own the file (`ingest.relay.hosts_store`).
"""

from __future__ import annotations

from collections.abc import Callable

from ingest.log import Head
from ingest.relay.directory import AccountView
from ingest.relay.hosts_store import HostsStore
from ingest.relay.parts import RelayLog
from ingest.relay.reasons import RelayReason
from schemas.entries import Moderation
from schemas.errors import Refused
from schemas.syntax import Did

_TAKEDOWN = "relay"


class SeenAccounts:
    """`catches_up` says whether an account's repo is being fetched."""

    def __init__(self, store: HostsStore, log: RelayLog, catches_up: Callable[[str], bool]) -> None:
        self._store = store
        self._log = log
        self._catches_up = catches_up

    def accounts(self, after: int, limit: int) -> list[AccountView]:
        found = self._store.accounts(after, limit)
        return [self._account(number, did, host, self._log.head(did)) for number, did, host in found]

    def account(self, did: str) -> AccountView | None:
        found, head = self._store.account(did), self._log.head(did)
        if found is None:
            return None if head is None else self._account(0, head.did, None, head)
        return self._account(found[0], Did(did), found[1], head)

    async def take_down(self, did: Did, *, taken_down: bool) -> AccountView:
        if self.account(did) is None:
            raise Refused(RelayReason.ACCOUNT_UNKNOWN, f"{did} was never seen here")
        await self._log.append(Moderation(did, _TAKEDOWN if taken_down else None))
        found = self.account(did)
        assert found is not None
        return found

    def _account(self, number: int, did: Did, host: str | None, head: Head | None) -> AccountView:
        known = Head(did) if head is None else head
        status = known.effective_status
        if status == "active" and self._catches_up(did):
            status = "desynchronized"
        return AccountView(did, host, status, known.rev, known.data, known.commit, number)
