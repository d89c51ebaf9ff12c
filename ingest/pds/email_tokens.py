"""Tokens that are sent by mail to prove that their bearer reads it: one an account and purpose, short-lived.

Does not own the mail (mail.py).
"""

from __future__ import annotations

import secrets
from typing import Literal

from ingest.pds.accounts import Accounts
from ingest.pds.refusals import expired_token, invalid_token

Purpose = Literal["delete_account"]

_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # no letters that look like digits


class EmailTokens:
    """Times are unix seconds."""

    def __init__(self, accounts: Accounts, ttl: int) -> None:
        self._accounts = accounts
        self._ttl = ttl

    async def create(self, did: str, purpose: Purpose, now: int) -> str:
        """As "ABCDE-FGHJK"; replaces the one before."""
        letters = "".join(secrets.choice(_ALPHABET) for _ in range(10))
        token = f"{letters[:5]}-{letters[5:]}"
        await self._accounts.write(
            lambda db: db.execute("INSERT OR REPLACE INTO email_tokens VALUES (?, ?, ?, ?)", (did, purpose, token, now))
        )
        return token

    def check(self, did: str, purpose: Purpose, token: str, now: int) -> None:
        """Raises XrpcError InvalidToken or ExpiredToken."""
        found = self._accounts.read(
            "SELECT token, requested FROM email_tokens WHERE did = ? AND purpose = ?", (did, purpose)
        )
        if not found or not secrets.compare_digest(found[0][0].encode(), token.strip().upper().encode()):
            raise invalid_token("Token is invalid")
        if found[0][1] + self._ttl <= now:
            raise expired_token("Token is expired")
