"""Taking in a whole repo from a CAR: what a migration brings, or a backup.

1. The CAR is spooled to disk while its blocks are checked; then every path that it changes is, and that its record is
   there. What the record's bytes say is not asked (verified is not valid): an account moves in with all it has.
2. The changes go to the log as the chunks of one diff, under a commit that the account's key here signs: its holder
   says so by asking, as they could by making the same writes.
3. When the log has accepted the diff, the account's file is brought up to it (rebuild.py); a crash in between leaves
   that to the log. An active account then says where it stands with a #sync.
Does not own the account's activation (lifecycle.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

from ingest.log import Head as LogHead
from ingest.log import PdsLog, Rejected
from ingest.pds.account_file import Root
from ingest.pds.account_files import AccountFiles
from ingest.pds.accounts import AccountRow, Accounts
from ingest.pds.commit_build import sync_entry
from ingest.pds.head import Head
from ingest.pds.heads import Heads
from ingest.pds.rebuild import bring_in
from ingest.pds.refusals import account_not_found, invalid_request, unavailable
from ingest.pds.secrets import private_directory
from ingest.pds.spool import Spool
from ingest.repo.commit import SignedCommit, UnsignedCommit, decode_commit
from ingest.repo.mst import Tree
from ingest.repo.mst_diff import mst_diff
from ingest.repo.reasons import MissingBlock
from ingest.repo.verify import check_path
from schemas.cid import Cid
from schemas.datetimes import from_micros
from schemas.entries import Diff, Op
from schemas.errors import Refused
from schemas.syntax import Did
from schemas.tid import TidClock

Change = tuple[str, Cid | None, Cid | None]
"""A path, its CID before and after; None where it is absent."""

_CHUNK_OPS = 1000
_CHUNK_BYTES = 2_000_000
_YIELD_EVERY = 500


class Importer:
    """`now` gives unix microseconds; a CAR may have `limit` bytes."""

    def __init__(
        self,
        *,
        log: PdsLog,
        heads: Heads,
        files: AccountFiles,
        accounts: Accounts,
        clock: TidClock,
        now: Callable[[], int],
        directory: Path,
        limit: int,
    ) -> None:
        self._log = log
        self._heads = heads
        self._files = files
        self._accounts = accounts
        self._clock = clock
        self._now = now
        self._directory = private_directory(directory)
        self._limit = limit

    async def run(self, did: Did, chunks: AsyncIterator[bytes]) -> None:
        """Raises XrpcError InvalidRequest for a CAR that does not hold; then nothing has changed."""
        try:
            with Spool(self._directory) as spool:
                await spool.take(chunks, self._limit)
                commit = decode_commit(spool.load(spool.root.raw))
                if commit.did != did:
                    raise invalid_request(f"the repo is of {commit.did}, the account is {did}")
                async with self._heads.locked(did) as head:
                    await self._import(head, commit, spool)
        except Rejected as rejected:
            raise unavailable(f"the account was written to meanwhile: {rejected.detail}") from rejected
        except Refused as refused:
            raise invalid_request(f"Invalid repo: {refused.detail}") from refused
        await self._announce(did)

    async def _import(self, head: Head, commit: SignedCommit, spool: Spool) -> None:
        """Under the account's lock; leaves the head closed, so that the next look at it reads the file."""
        did, tree = head.did, Tree.open(commit.data, spool.load)
        account, known = self._accounts.get(did), self._log.head(did)
        if account is None:
            raise account_not_found()
        partial = known is not None and known.commit is not None and known.partial
        if partial:
            changes: Sequence[Change] = await self._changes_of_partial(did, tree)
        else:
            changes = mst_diff(head.tree, tree).changes
        await _check(changes, spool)
        signed = self._sign(account, known, commit)
        await self._heads.flush(head)
        self._heads.close_account(head)
        await self._append(did, known, signed, list(_chunks(changes, spool)), spool)
        if not partial:  # else the file has not what the changes are made against: the log's records make it
            root = Root(signed.rev, signed.data, signed.cid, signed.block, 0)
            await bring_in(head, root, ((path, after) for path, _, after in changes), self._files, spool.load)

    def _sign(self, account: AccountRow, known: LogHead | None, commit: SignedCommit) -> SignedCommit:
        last = None if known is None else known.rev
        # A repo that comes from elsewhere may be ahead of our clock; ours has to come after it all the same.
        rev = self._clock.next(commit.rev if last is None or commit.rev > last else last)
        return UnsignedCommit(account.did, rev, commit.data).sign(account.key)

    async def _changes_of_partial(self, did: Did, tree: Tree) -> list[Change]:
        """Against what the log has of a repo whose beginning it never saw."""
        old: dict[str, Cid | None] = {}
        async for page in self._log.values([did]):
            old.update((path, cid) for _, path, cid, _ in page)
        new = dict(tree.items())
        changes: list[Change] = [(path, old.get(path), cid) for path, cid in new.items() if old.get(path) != cid]
        changes += [(path, before, None) for path, before in old.items() if before is not None and path not in new]
        return changes

    async def _append(
        self, did: Did, base: LogHead | None, signed: SignedCommit, chunks: list[list[Change]], spool: Spool
    ) -> None:
        rev, data = (None, None) if base is None else (base.rev, base.data)
        cid, first = signed.cid, None
        for index, chunk in enumerate(chunks):
            ops = tuple(_op(change, spool) for change in chunk)
            appended = await self._log.append(
                Diff(did, rev, data, signed.rev, cid, signed.block, signed.data, index, len(chunks), first, ops)
            )
            first = appended.offset if index == 0 else first
        found = self._log.head(did)
        if found is None or found.commit != cid:
            raise unavailable("the account was written to meanwhile")

    async def _announce(self, did: Did) -> None:
        async with self._heads.locked(did) as head:
            account = self._accounts.get(did)
            if account is not None and account.active and head.root is not None:
                await self._log.append(sync_entry(did, head.root, from_micros(self._now())))


async def _check(changes: Sequence[Change], spool: Spool) -> None:
    """Raises Refused for a path that no repo may hold, or a record that the CAR has not."""
    for index, (path, _, after) in enumerate(changes):
        check_path(path)
        if after is not None:
            try:
                spool.size(after.raw)
            except KeyError:
                raise MissingBlock(after.raw, f"the record at {path}") from None
        if index % _YIELD_EVERY == 0:
            await asyncio.sleep(0)


def _chunks(changes: Sequence[Change], spool: Spool) -> Iterator[list[Change]]:
    """At least one, bounded in operations and bytes."""
    chunk: list[Change] = []
    size = 0
    for change in changes:
        after = change[2]
        more = 0 if after is None else spool.size(after.raw)
        if chunk and (len(chunk) == _CHUNK_OPS or size + more > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(change)
        size += more
    yield chunk


def _op(change: Change, spool: Spool) -> Op:
    path, before, after = change
    if after is None:
        return Op("delete", path, None, before, None)
    return Op("create" if before is None else "update", path, after, before, spool.load(after.raw))
