"""Making an account, so that a crash at any point leaves a whole one or none (EXACTNESS 22).

1. A `pending` row reserves the handle and holds the key and the signed PLC operation.
2. The PLC operation is submitted; the password's hash joins the row (it is computed meanwhile).
3. Identity, account and first commit go to the log in one append.
4. The row becomes active. A start finishes every row that has its hash and whose DID or entries exist, and removes the
   others; while the directory cannot be asked a row stays pending.
An account that moves here brings its DID: no PLC operation, nothing in the log if the log knows its repo, and it stays
deactivated. Does not own sessions nor later changes (lifecycle.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson
import structlog

from ingest.identity import plc_op
from ingest.identity.plc_client import PlcClient
from ingest.identity.plc_op import PlcRefused
from ingest.identity.reasons import IdentityRefused
from ingest.log import PdsLog
from ingest.pds.account_file import Root
from ingest.pds.accounts import AccountRow, Accounts
from ingest.pds.commit_build import first_commit
from ingest.pds.heads import Heads
from ingest.pds.passwords import Passwords
from ingest.pds.refusals import unavailable
from ingest.repo.commit import SignedCommit
from ingest.repo.keys import PrivateKey
from schemas import crash
from schemas.datetimes import from_micros
from schemas.entries import Account, Diff, Identity
from schemas.errors import Refused, XrpcError
from schemas.syntax import Did, Handle
from schemas.tid import TidClock

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What is checked already. `did` is set for an account that moves here; `recovery_key` is a did:key or None."""

    handle: Handle
    email: str
    password: str | None
    did: Did | None = None
    recovery_key: str | None = None


class Creation:
    """`now` gives unix microseconds."""

    def __init__(
        self,
        *,
        log: PdsLog,
        accounts: Accounts,
        heads: Heads,
        passwords: Passwords,
        plc: PlcClient,
        rotation_key: PrivateKey,
        public_url: str,
        clock: TidClock,
        now: Callable[[], int],
    ) -> None:
        self._log = log
        self._accounts = accounts
        self._heads = heads
        self._passwords = passwords
        self._plc = plc
        self._rotation_key = rotation_key
        self._public_url = public_url
        self._clock = clock
        self._now = now
        self._making: set[Did] = set()

    async def create(self, new: NewAccount) -> AccountRow:
        """Raises XrpcError; then there is no such account."""
        row = self._pending(new)
        self._making.add(row.did)
        hashing = asyncio.create_task(self._hash(new.password))
        try:
            if new.did is not None:
                await self._log.host([new.did])
            await self._accounts.insert(row)
            crash.point("account.pending")
            try:
                await self._submit(row)
                crash.point("account.after_plc")
                await self._accounts.update(row.did, password=await hashing)
            except BaseException:
                await self._accounts.remove(row.did)
                raise
            found = self._accounts.get(row.did)
            assert found is not None
            return await self._finish(found)
        finally:
            self._making.discard(row.did)
            hashing.cancel()
            await asyncio.gather(hashing, return_exceptions=True)

    async def settle_pending(self) -> int:
        """Finish or remove what a crash or an unknown outcome left.

        Returns how many rows stay pending because the directory cannot be asked.
        """
        left = 0
        for row in self._accounts.pending():
            if row.did in self._making:
                continue
            outcome = await self._settle(row)
            left += outcome == "kept"
            if outcome != "kept":
                _log.info("account creation was interrupted", did=row.did, handle=row.handle, outcome=outcome)
        return left

    async def _settle(self, row: AccountRow) -> str:
        if row.password is None and not self._is_logged(row):
            await self._accounts.remove(row.did)
            return "removed"
        if row.plc_op is not None and not self._is_logged(row):
            try:
                await self._plc.last(row.did)
            except IdentityRefused as refused:
                if refused.transient:
                    return "kept"
                await self._accounts.remove(row.did)
                return "removed"
        await self._finish(row)
        return "finished"

    async def _hash(self, password: str | None) -> str:
        return "" if password is None else await self._passwords.hash(password)

    def _pending(self, new: NewAccount) -> AccountRow:
        key = PrivateKey.generate("k256")
        did, signed = new.did, None
        if did is None:
            keys: Sequence[str] = [self._rotation_key.public.did_key]
            if new.recovery_key is not None:
                keys = [new.recovery_key, *keys]
            operation = plc_op.account(key.public.did_key, new.handle, self._public_url, keys)
            signed = plc_op.sign(operation, self._rotation_key)
            did = plc_op.parse(signed).did
        plc = None if signed is None else orjson.dumps(signed)
        created = self._now()
        return AccountRow(did, new.handle, new.email, False, None, "pending", None, key, plc, created)

    async def _submit(self, row: AccountRow) -> None:
        if row.plc_op is None:
            return
        try:
            await self._plc.submit(row.did, orjson.loads(row.plc_op))
        except PlcRefused as refused:
            raise XrpcError("UpstreamFailure", f"the PLC directory refused: {refused.detail}", 502) from refused
        except Refused as refused:
            raise unavailable(f"the PLC directory did not answer: {refused.detail}") from refused

    def _is_logged(self, row: AccountRow) -> bool:
        known = self._log.head(row.did)
        return row.plc_op is not None and known is not None and known.commit is not None

    async def _finish(self, row: AccountRow) -> AccountRow:
        known = self._log.head(row.did)
        has_repo = known is not None and known.commit is not None
        if row.plc_op is not None:
            if not has_repo:
                await self._log_new(row)
            status = "active"
        else:
            if not has_repo:
                await self._log_moving(row)
            status = "deactivated"
        crash.point("account.after_append")
        await self._accounts.update(row.did, status=status, plc_op=None)
        found = self._accounts.get(row.did)
        assert found is not None
        return found

    async def _log_new(self, row: AccountRow) -> None:
        """Identity, account, commit: the order that the protocol recommends."""
        now = self._now()
        commit, signed = first_commit(row.did, row.key, self._clock.next(), from_micros(now))
        appended = await self._log.append_many((Identity(row.did, row.handle), Account(row.did, "active"), commit))
        self._adopt(row.did, signed, appended[-1].shard, appended[-1].offset)

    async def _log_moving(self, row: AccountRow) -> None:
        """An empty repo to import into; a diff makes no event, as nothing may be said of a deactivated repo."""
        did = row.did
        known = self._log.head(did)
        rev = self._clock.next(None if known is None else known.rev)
        _, signed = first_commit(did, row.key, rev, from_micros(self._now()))
        diff = Diff(did, None, None, rev, signed.cid, signed.block, signed.data, 0, 1, None, ())
        appended = await self._log.append_many((Account(did, "deactivated"), diff))
        self._adopt(did, signed, appended[-1].shard, appended[-1].offset)

    def _adopt(self, did: Did, signed: SignedCommit, shard: int, offset: int) -> None:
        root = Root(signed.rev, signed.data, signed.cid, signed.block, offset)
        self._heads.adopt(did, root)
        self._heads.settled(did, shard, offset)
