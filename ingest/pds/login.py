"""Logging in and staying logged in: passwords to sessions, sessions to sessions, and tokens for other services.

Does not own the tokens' form (tokens.py), their rotation (sessions.py) nor an account's state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ingest.identity import service_auth
from ingest.pds.accounts import AccountRow, Accounts
from ingest.pds.did_docs import DidDocs
from ingest.pds.passwords import Passwords
from ingest.pds.refusals import account_taken_down, auth_required, expired_token, invalid_request
from ingest.pds.sessions import Sessions
from ingest.pds.settings import HOUR, MINUTE
from ingest.pds.tokens import Scope, Tokens
from schemas.errors import XrpcError
from schemas.limits import SERVICE_JWT_SECONDS
from schemas.syntax import Did, Handle

PROTECTED_METHODS = frozenset(
    (
        "com.atproto.admin.sendEmail",
        "com.atproto.identity.requestPlcOperationSignature",
        "com.atproto.identity.signPlcOperation",
        "com.atproto.identity.updateHandle",
        "com.atproto.server.activateAccount",
        "com.atproto.server.confirmEmail",
        "com.atproto.server.createAppPassword",
        "com.atproto.server.deactivateAccount",
        "com.atproto.server.getAccountInviteCodes",
        "com.atproto.server.getSession",
        "com.atproto.server.listAppPasswords",
        "com.atproto.server.requestAccountDelete",
        "com.atproto.server.requestEmailConfirmation",
        "com.atproto.server.requestEmailUpdate",
        "com.atproto.server.revokeAppPassword",
        "com.atproto.server.updateEmail",
    )
)
"""What no service token may be asked for (TS packages/pds/src/pipethrough.ts)."""


@dataclass(frozen=True, slots=True)
class Session:
    """`access` and `refresh` are empty where a session is only described; `status` is None for active accounts."""

    did: Did
    handle: Handle
    email: str | None
    email_confirmed: bool
    active: bool
    status: Literal["deactivated", "takendown"] | None
    did_doc: dict[str, Any] | None
    access: str = ""
    refresh: str = ""


class Login:
    """`now` gives unix seconds."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        passwords: Passwords,
        sessions: Sessions,
        tokens: Tokens,
        did_docs: DidDocs,
        now: Callable[[], float],
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._sessions = sessions
        self._tokens = tokens
        self._did_docs = did_docs
        self._now = now

    async def create(self, identifier: str, password: str, *, allow_takendown: bool) -> Session:
        """By handle, DID or email. Raises XrpcError AuthenticationRequired or AccountTakedown."""
        row = self._find(identifier.strip().lower())
        good = await self._passwords.verify(None if row is None else row.password or None, password)
        if row is None or not good:
            raise auth_required("Invalid identifier or password")
        if row.takedown is not None and not allow_takendown:
            raise account_taken_down()
        return await self.start(row)

    async def start(self, row: AccountRow) -> Session:
        """A session without asking for the password (an account that was just made)."""
        token_id = await self._sessions.start(row.did, int(self._now()))
        return await self._session(row, token_id)

    async def refresh(self, did: Did, token_id: str) -> Session:
        """Raises XrpcError ExpiredToken for a token that is revoked, used up or unknown."""
        row = self._accounts.get(did)
        if row is not None and row.takedown is not None:
            raise account_taken_down()
        rotated = await self._sessions.rotate(token_id, int(self._now()))
        if rotated is None or rotated[0] != did:
            raise expired_token("Token has been revoked")
        if row is None or row.status == "pending":
            raise invalid_request(f"Could not find user info for account: {did}")
        return await self._session(row, rotated[1])

    async def describe(self, did: Did) -> Session:
        row = self._accounts.get(did)
        if row is None or row.status == "pending":
            raise invalid_request(f"Could not find user info for account: {did}")
        return await self._session(row, None)

    async def check_password(self, did: Did, password: str) -> AccountRow | None:
        row = self._accounts.get(did)
        good = await self._passwords.verify(None if row is None else row.password or None, password)
        return row if good else None

    def service_token(self, did: Did, aud: str, lxm: str | None, exp: int | None) -> str:
        """Raises XrpcError BadExpiration, or InvalidRequest for a protected method."""
        row = self._accounts.get(did)
        if row is None:
            raise invalid_request(f"Could not find user info for account: {did}")
        now = self._now()
        lifetime = float(SERVICE_JWT_SECONDS) if exp is None else exp - now
        if lifetime < 0:
            raise XrpcError("BadExpiration", "expiration is in past")
        if lifetime > HOUR:
            raise XrpcError(
                "BadExpiration", "cannot request a token with an expiration more than an hour in the future"
            )
        if lxm is None and lifetime > MINUTE:
            raise XrpcError(
                "BadExpiration",
                "cannot request a method-less token with an expiration more than a minute in the future",
            )
        if lxm in PROTECTED_METHODS:
            raise invalid_request(f"cannot request a service auth token for the following protected method: {lxm}")
        return service_auth.create(row.key, did, aud, lxm, now, lifetime)

    def _find(self, identifier: str) -> AccountRow | None:
        if "@" in identifier:
            row = self._accounts.by_email(identifier)
        elif identifier.startswith("did:"):
            row = self._accounts.get(identifier)
        else:
            row = self._accounts.by_handle(identifier)
        return None if row is None or row.status == "pending" else row

    async def _session(self, row: AccountRow, token_id: str | None) -> Session:
        status = row.effective_status
        scope = Scope.TAKENDOWN if status == "takendown" else Scope.ACCESS
        return Session(
            row.did,
            row.handle,
            row.email,
            row.email_confirmed,
            status == "active",
            None if status == "active" else status,
            await self._did_docs.get(row.did),
            "" if token_id is None else self._tokens.access(row.did, scope),
            "" if token_id is None else self._tokens.refresh(row.did, token_id),
        )
