"""What the log holds of our accounts and their files and rows lack: after a crash, or an unknown outcome.

The log decides what was accepted: a commit is taken if and only if it continues what the file holds. What cannot be
continued (a diff, a lost file) is left to rebuild.py, which the next read of the account calls. Does not own accounts
being created (lifecycle.py finishes those).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import structlog

from ingest.commit_block import find_commit_block
from ingest.derive import did_of
from ingest.log import PdsLog
from ingest.pds.account_file import Root, Stored
from ingest.pds.account_files import AccountFiles
from ingest.pds.accounts import Accounts
from ingest.pds.blob_refs import Ref, refs_of
from ingest.pds.head import Head
from ingest.pds.heads import Heads
from ingest.pds.rebuild import finish, gather, is_behind
from schemas.entries import Account, Commit, Entry, Identity, Moderation
from schemas.errors import InvariantError
from schemas.syntax import Did

_PAGE = 500
_log = structlog.get_logger()


class Replay:
    """`forget(did)` removes what is left here of an account that the log says is deleted."""

    def __init__(
        self,
        log: PdsLog,
        files: AccountFiles,
        accounts: Accounts,
        heads: Heads,
        forget: Callable[[Did], Awaitable[None]],
    ) -> None:
        self._log = log
        self._files = files
        self._accounts = accounts
        self._heads = heads
        self._forget = forget
        self.replayed = 0

    async def run(self) -> None:
        """Apply every shard up to the end seen at the start of this call."""
        await self._log.host(self._accounts.hosted())
        ends = {shard: self._log.commits_end(shard) for shard in range(self._log.shards)}
        for shard, end in ends.items():
            after = self._accounts.checkpoint(shard)
            while after < end and (page := await self._log.read_commits(shard, after, _PAGE)):
                await self._page(page)
                after = page[-1][0]
            self._heads.settled(Did(""), shard, end)
        await self._restore_lost(self._accounts.hosted())  # the pages may have buried some
        await self._heads.save_checkpoints()
        if self.replayed:
            _log.info("replayed the log into account files", entries=self.replayed)

    async def replay(self, entries: Sequence[tuple[int, Entry]]) -> None:
        """The same for entries whose outcome was unknown."""
        for did in {did_of(entry) for _, entry in entries}:
            await self._heads.retire(did)
        await self._page(list(entries))

    async def reread(self, did: Did) -> None:
        """The log holds another head than the one that we wrote on."""
        await self._heads.retire(did)
        await self._follow(did)

    def checkpoints(self) -> Mapping[int, int]:
        return self._heads.checkpoints()

    async def _restore_lost(self, dids: Collection[Did]) -> None:
        """Files that are not there are made in one pass over the log's records: a lost volume has lost them all."""
        absent = [did for did in dids if not self._files.path(did).exists()]
        lost = [did for did in absent if is_behind(Head(did, self._files), self._log)]
        if not lost:
            return
        _log.warning("account files are lost: making them anew from the log", files=len(lost))
        for did, root in (await gather(lost, self._files, self._log)).items():
            try:
                await finish(did, root, self._files)
            except InvariantError as error:  # asked for, the account raises it again: it stops, the others do not
                _log.critical("an account cannot be restored", did=did, cause=str(error))

    async def _page(self, page: list[tuple[int, Entry]]) -> None:
        """Entries of one account after another, so that a file is opened and flushed once a page."""
        commits: dict[Did, list[tuple[int, Commit]]] = {}
        for offset, entry in page:
            if isinstance(entry, Commit) and self._accounts.get(entry.did) is not None:
                commits.setdefault(entry.did, []).append((offset, entry))
        for did, entries in commits.items():
            head = Head(did, self._files)
            for offset, commit in entries:
                self.replayed += _apply(head, offset, commit)
            await self._heads.flush(head)
        for did in {Did(name) for _, entry in page if (name := _account_of(entry)) is not None}:
            await self._follow(did)
        for _, entry in page:
            if isinstance(entry, Moderation):
                await self._accounts.set_takedown(entry.subject, entry.takedown)

    async def _follow(self, did: Did) -> None:
        """Set the row to what the log says now: an append comes before its row, and a crash may fall between."""
        row, known = self._accounts.get(did), self._log.head(did)
        if row is None or known is None or row.status == "pending":
            return
        if known.status == "deleted":
            await self._forget(did)
            return
        if known.status in ("active", "deactivated") and known.status != row.status:
            await self._accounts.update(did, status=known.status)
        if known.handle not in (None, row.handle) and self._accounts.by_handle(known.handle) is None:
            await self._accounts.update(did, handle=known.handle)


def _account_of(entry: Entry) -> str | None:
    return entry.did if isinstance(entry, Account | Identity) else None


def _apply(head: Head, offset: int, commit: Commit) -> int:
    """Take a commit that continues the file's root; anything else is older, or refused, or for the rebuild."""
    root = head.root
    if (None if root is None else root.data) != commit.prev_data and not (root is None and commit.since is None):
        return 0
    if root is not None and commit.rev <= root.rev:
        return 0
    tree = head.tree.fork()
    records: dict[str, Stored | None] = {}
    added: set[Ref] = set()
    removed: set[Ref] = set()
    for op in commit.ops:
        if op.prev is not None:
            old = head.record(op.path)
            if old is not None:
                removed |= refs_of(op.path, old.value)
        if op.cid is None:
            tree.delete(op.path)
            records[op.path] = None
        else:
            assert op.record is not None
            tree.put(op.path, op.cid)
            records[op.path] = Stored(op.cid, commit.rev, op.record)
            added |= refs_of(op.path, op.record)
    data, nodes = tree.write()
    if data != commit.data:
        return 0  # the file was not what this commit was made on; the log's records will say
    block = find_commit_block(commit.tail, commit.commit)
    head.absorb(
        tree=tree,
        root=Root(commit.rev, data, commit.commit, block, offset),
        nodes=nodes,
        records=records,
        refs_added=added,
        refs_removed=removed - added,
    )
    return 1
