"""The heads in memory: one an account, loaded when asked for, flushed about once a second, dropped when idle.

A head is given out only when its file says what the log's head says; otherwise the file is repaired first
(rebuild.py). Does not own the repair, nor the writes (writer.py).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog

from ingest.log import PdsLog
from ingest.pds.account_file import Root
from ingest.pds.account_files import AccountFiles
from ingest.pds.accounts import Accounts
from ingest.pds.blob_index import BlobIndex
from ingest.pds.head import Head
from ingest.pds.rebuild import is_behind, rebuild
from ingest.pds.refusals import repo_not_found
from ingest.pds.settings import PdsSettings
from schemas.syntax import Did
from schemas.topics import shard_of

_log = structlog.get_logger()
_CHECKPOINT_EVERY = 5  # flush rounds


class Heads:
    def __init__(
        self, log: PdsLog, files: AccountFiles, accounts: Accounts, blobs: BlobIndex, settings: PdsSettings
    ) -> None:
        self._log = log
        self._files = files
        self._accounts = accounts
        self._blobs = blobs
        self._settings = settings
        self._heads: OrderedDict[str, Head] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Head]] = {}
        self._in_flight: dict[str, int] = {}
        """Accounts with an append whose outcome is not yet in their head, and the end of `commits` before it."""
        self._held: dict[object, tuple[int, int]] = {}
        """Shard and end of `commits` before each append that a row, not a head, is still to follow."""
        self._seen: dict[int, int] = {}
        """The newest offset of ours that a head has absorbed, by shard."""
        self._saved: dict[int, int] = {}
        self._too_many = 0
        """Loaded nodes above their bound when the last round of flushes ended: the next flushes drop them."""
        self.flusher: asyncio.Task[None] | None = None
        self.dropped = asyncio.Event()
        """Set when a flush left blobs for the collector."""

    def start(self) -> None:
        self.flusher = asyncio.create_task(self._flush_for_ever(), name="pds-flush")

    # --- giving out ---

    async def get(self, did: Did) -> Head:
        """The head, to read. HOT. Raises XrpcError 503 while the account cannot be read back."""
        head = self._heads.get(did)
        if head is not None and not head.closed:
            self._heads.move_to_end(did)
            return head
        loading = self._loading.get(did)
        if loading is None:
            loading = self._loading[did] = asyncio.create_task(self._load(did))
            loading.add_done_callback(lambda _: self._loading.pop(did, None))
        return await asyncio.shield(loading)

    @asynccontextmanager
    async def locked(self, did: Did) -> AsyncIterator[Head]:
        """The head, to write, under the account's lock."""
        while True:
            head = await self.get(did)
            async with head.lock:
                # It may have been dropped or closed while we waited for the lock.
                if self._heads.get(did) is head and not head.closed:
                    yield head
                    return

    async def _load(self, did: Did) -> Head:
        await self._log.settled(did)
        await self.retire(did)
        self._in_flight.pop(did, None)
        known = self._log.head(did)
        if known is not None and known.status == "deleted":
            raise repo_not_found(did)  # opening its file would make it again
        head = Head(did, self._files)
        if is_behind(head, self._log):
            _log.warning("account file is behind the log: repairing it", did=did)
            await rebuild(did, self._files, self._log)
            head = Head(did, self._files)
        self._heads[did] = head
        self._make_room()
        return head

    def _make_room(self) -> None:
        """Drop idle heads, the least recently used first; never the newest, which somebody is about to lock."""
        for did in [*self._heads][:-1]:
            if len(self._heads) <= self._settings.heads:
                return
            if self._heads[did].idle:
                del self._heads[did]

    def _unload_trees(self) -> None:
        """Keep the loaded nodes of all trees within their bound, the most recently used ones first.

        What is not idle is unloaded when it has been flushed next: where all are written all the time none ever is.
        """
        room = self._settings.nodes
        for head in reversed(self._heads.values()):
            room -= head.tree.loaded
            if room < 0 and head.idle:
                head.unload()
        self._too_many = sum(head.tree.loaded for head in self._heads.values()) - self._settings.nodes

    def adopt(self, did: Did, root: Root) -> None:
        """Take in a repo without records that is new here, once the log has it."""
        head = Head(did, self._files)
        if head.root is not None:  # a file that an earlier life of the account left
            self._files.remove(did)
            head = Head(did, self._files)
        head.absorb(tree=head.tree.fork(), root=root, nodes={}, records={}, refs_added=(), refs_removed=())
        self._heads[did] = head
        self._make_room()

    async def retire(self, did: Did) -> None:
        """Close the head and bring the file up to what it had: the next look at the account reads the file."""
        head = self._heads.pop(did, None)
        if head is not None:
            head.closed = True
            async with head.lock:  # who closed it may be at work still: an import appends for as long as it takes
                await self.flush(head)

    def close_account(self, head: Head) -> None:
        """After a rejection or an unknown outcome: nothing is served from this head again, the log is read instead."""
        head.closed = True

    def forget(self, did: Did) -> None:
        """The account is gone: its head and its file with it. Call under its lock."""
        self._in_flight.pop(did, None)
        head = self._heads.pop(did, None)
        if head is not None:
            head.forget()
        self._files.remove(did)

    # --- following the log ---

    def sent(self, did: Did) -> None:
        """An append of this account is about to go out."""
        self._in_flight[did] = self._log.commits_end(shard_of(did, self._log.shards))

    def settled(self, did: Did, shard: int | None = None, offset: int = 0) -> None:
        """The append's outcome is in the head (accepted at `offset`), or there is none."""
        self._in_flight.pop(did, None)
        if shard is not None and offset > self._seen.get(shard, 0):
            self._seen[shard] = offset

    @contextmanager
    def holding(self, did: Did) -> Iterator[None]:
        """Keep the checkpoint below what is appended inside, until the account's row says it too."""
        shard, token = shard_of(did, self._log.shards), object()
        self._held[token] = (shard, self._log.commits_end(shard))
        try:
            yield
        finally:
            del self._held[token]

    async def flush(self, head: Head) -> None:
        while head.dropped_blobs:
            # Known to be suspect before the file forgets who referred to them: a crash repeats this from the log.
            dropped, head.dropped_blobs = head.dropped_blobs, set()
            await self._blobs.set_state(head.did, dropped, "dropped")
            self.dropped.set()
        head.flush(self._settings.nodes_per_head)
        if self._too_many > 0:
            self._too_many -= head.tree.loaded
            head.unload()

    async def flush_all(self) -> None:
        for head in [*self._heads.values()]:
            if head.overlay is not None:
                await self.flush(head)
                await asyncio.sleep(0)
        self._make_room()
        self._unload_trees()

    def checkpoints(self) -> dict[int, int]:
        """By shard, the offset of `commits` up to which every file of ours is complete."""
        shards = self._log.shards
        found = {shard: max(seen, self._log.commits_end(shard)) for shard, seen in self._seen.items()}
        dirty = [(did, head.overlay.first - 1) for did, head in self._heads.items() if head.overlay is not None]
        waiting = [(shard_of(did, shards), below) for did, below in (*dirty, *self._in_flight.items())]
        for shard, below in (*waiting, *self._held.values()):
            if shard in found:
                found[shard] = min(found[shard], below)
        return found

    async def save_checkpoints(self) -> None:
        found = self.checkpoints()
        risen = {shard: offset for shard, offset in found.items() if offset > self._saved.get(shard, 0)}
        if risen:
            await self._accounts.set_checkpoints(risen)
            self._saved.update(risen)

    async def _flush_for_ever(self) -> None:
        """One round an interval, its flushes spread over it: a burst of them would be a pause for every writer."""
        rounds = 0
        interval = self._settings.flush_interval
        while True:
            dirty = [head for head in self._heads.values() if head.overlay is not None]
            pause = interval / max(1, len(dirty))
            for head in dirty:
                await asyncio.sleep(pause)
                await self.flush(head)
            if not dirty:
                await asyncio.sleep(interval)
            self._make_room()
            self._unload_trees()
            rounds += 1
            if rounds % _CHECKPOINT_EVERY == 0:
                await self.save_checkpoints()

    async def close(self) -> None:
        """Flush everything; the next start has nothing to replay."""
        if self.flusher is not None:
            self.flusher.cancel()
            await asyncio.gather(self.flusher, return_exceptions=True)
        for loading in [*self._loading.values()]:
            await asyncio.gather(loading, return_exceptions=True)
        await self.flush_all()
        await self.save_checkpoints()
        self._heads.clear()
