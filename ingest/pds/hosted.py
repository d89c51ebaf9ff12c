"""Whose account lives here, and whom it may be shown to: asked before anything is done for an account.

Raises XrpcError. An account whose creation is pending is nowhere yet. Does not own the accounts (accounts.py).
"""

from __future__ import annotations

from ingest.pds.accounts import AccountRow, Accounts
from ingest.pds.refusals import account_not_found, account_taken_down, repo_inactive, repo_not_found
from schemas.syntax import Did


class Hosted:
    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def get(self, did: str) -> AccountRow | None:
        """In whatever state. HOT."""
        row = self._accounts.get(did)
        return None if row is None or row.status == "pending" else row

    def find(self, repo: str) -> AccountRow | None:
        """By DID or handle. HOT."""
        if repo.startswith("did:"):
            return self.get(repo)
        row = self._accounts.by_handle(repo.lower())
        return None if row is None or row.status == "pending" else row

    def own(self, did: Did) -> AccountRow:
        """The caller's."""
        row = self.get(did)
        if row is None:
            raise account_not_found()
        return row

    def not_taken_down(self, did: Did) -> AccountRow:
        """The caller's, deactivated or not."""
        row = self.own(did)
        if row.takedown is not None:
            raise account_taken_down()
        return row

    def shown(self, did: Did, *, as_owner: bool) -> AccountRow:
        """What sync shows of; its owner sees it in any state."""
        row = self.get(did)
        if row is None:
            raise repo_not_found(did)
        if not row.active and not as_owner:
            raise repo_inactive(did, row.effective_status)
        return row
