"""What a new account must satisfy before anything is made: password, address, recovery key, handle, whose DID it is.

Does not own the making (creation.py) nor the forms of handles (handles.py).
"""

from __future__ import annotations

import re

from ingest.pds.accounts import Accounts
from ingest.pds.creation import NewAccount
from ingest.pds.handles import check_new_handle
from ingest.pds.lifecycle import Lifecycle
from ingest.pds.passwords import NEW_PASSWORD_MAX
from ingest.pds.refusals import auth_required, handle_taken, invalid_request
from ingest.repo.keys import KeyRefused, PublicKey
from schemas.syntax import Did

_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)+").fullmatch
_EMAIL_MAX = 320


class Signup:
    def __init__(self, accounts: Accounts, lifecycle: Lifecycle, handle_domains: tuple[str, ...]) -> None:
        self._accounts = accounts
        self._lifecycle = lifecycle
        self._handle_domains = handle_domains

    async def check(
        self,
        *,
        handle: str,
        email: str | None,
        password: str | None,
        did: Did | None,
        requester: Did | None,
        recovery_key: str | None,
    ) -> NewAccount:
        """Raises XrpcError. `requester` has proved that the account `did`, which moves here, is theirs."""
        if password is not None and len(password) > NEW_PASSWORD_MAX:
            raise invalid_request(f"Password too long. Maximum length is {NEW_PASSWORD_MAX} characters.")
        if not email:
            raise invalid_request("Email is required")
        email = email.lower()
        if len(email) > _EMAIL_MAX or _EMAIL(email) is None:
            raise invalid_request("This email address is not supported, please use a different email.")
        if recovery_key is not None:
            try:
                PublicKey.from_did_key(recovery_key)
            except KeyRefused as refused:
                raise invalid_request(f"Invalid recoveryKey: {refused.detail}") from refused
        if did is None:
            checked = check_new_handle(handle, self._handle_domains)
        else:
            if did != requester:
                raise auth_required(f"Missing auth to create account with did: {did}")
            checked = await self._lifecycle.check_handle(handle, did)
        if self._accounts.by_handle(checked) is not None or self._lifecycle.is_wanted(checked):
            raise handle_taken(checked)
        if self._accounts.by_email(email) is not None:
            raise invalid_request(f"Email already taken: {email}")
        return NewAccount(checked, email, password, did, recovery_key)
