"""After a crash: what the log holds of our accounts beyond the checkpoint, brought into their files and rows.

The log decides what was accepted: a commit is taken if and only if it continues what the file holds. What cannot be
continued (a diff, a lost file) is left to rebuild.py, which the next read of the account calls. Does not own accounts
being created (lifecycle.py finishes those).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from ingest.commit_block import find_commit_block
from ingest.log import Log
from ingest.pds.account_file import Root, Stored
from ingest.pds.account_files import AccountFiles
from ingest.pds.accounts import Accounts
from ingest.pds.blob_refs import Ref, refs_of
from ingest.pds.head import Head
from ingest.pds.heads import Heads
from schemas.entries import Account, Commit, Entry, Identity, Moderation
from schemas.syntax import Did

_PAGE = 500
_log = structlog.get_logger()


class Replay:
    """`forget(did)` removes what is left here of an account that the log says is deleted."""

    def __init__(
        self,
        log: Log,
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
        ends = {shard: self._log.commits_end(shard) for shard in range(self._log.shards)}
        for shard, end in ends.items():
            after = self._accounts.checkpoint(shard)
            while after < end and (page := await self._log.read_commits(shard, after, _PAGE)):
                await self._page(page)
                after = page[-1][0]
            self._heads.settled(Did(""), shard, end)
        await self._heads.save_checkpoints()
        if self.replayed:
            _log.info("replayed the log into account files", entries=self.replayed)

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
