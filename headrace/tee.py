"""A relay's tee: every host's frames into an archive of its own, with the DID documents that verify them.

`ingest.relay.tee.Tee` over `headrace.load.archive`. What was given waits in memory, bounded in bytes; a task resolves
who is not known yet, writes documents and then frames in a thread, and syncs. A disk that fails ends it, and with it
the process: an archive with a hole that nobody sees is worth nothing. In an archive numbers rise: a host whose numbers
begin anew has another one from then on. Does not own the format.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from headrace.load.archive.blocks import Item
from headrace.load.archive.items import Numbered, document_item, frame_item
from headrace.load.archive.reader import last_seq
from headrace.load.archive.writer import ArchiveWriter
from ingest.identity.did_doc import DidDocument
from ingest.identity.resolver import DidResolver
from ingest.relay.quotas import Bucket, Rate
from ingest.repo.messages import IdentityMessage
from schemas.errors import InvariantError, Refused
from schemas.syntax import Did

WAITING_BYTES = 32 << 20  # of all hosts
OPEN = 256  # archives at once; one that is opened again begins new segments
_BATCH = 4_096  # frames that are written together
_FLUSH_SECONDS = 1.0
_LOOKUPS = 16  # at once
_KNOWN = 200_000  # accounts whose document is in the archive, some 100 bytes each
_REFRESHES = Rate(50, 60.0)  # identities of a host asked for anew, as the intake does


class _Given(NamedTuple):
    host: str
    numbering: int
    frame: bytes
    time: int
    first: bool
    """Of its connection."""


class _Archive:
    """One host's. `replay`: frames at or below `last` are ones that are kept already."""

    def __init__(self, directory: Path, host: str) -> None:
        self.last = (last_seq(directory) if directory.is_dir() else None) or 0
        self.replay = True
        self.known: set[str] = set()
        self.refreshes = Bucket(_REFRESHES)
        self.dirty = False
        self.writer = ArchiveWriter(directory, source=host)


class ArchiveTee:
    """Keep `run` running; `close` writes what waits. `teed`, `again` and `undocumented` count frames and accounts."""

    def __init__(
        self,
        directory: Path,
        resolver: DidResolver,
        *,
        waiting_bytes: int = WAITING_BYTES,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._directory = directory
        self._resolver = resolver
        self._most = waiting_bytes
        self._now = now
        self._archives: OrderedDict[str, _Archive] = OrderedDict()
        self._fresh: set[str] = set()
        self._numberings = _numberings(directory)
        self._waiting: list[_Given] = []
        self._given = 0
        self._kept = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._moved = asyncio.Condition()
        self._files = asyncio.Lock()
        self._hurry = asyncio.Event()
        self._broken: BaseException | None = None
        self.waiting_bytes = 0
        self.teed = 0
        self.again = 0
        self.undocumented = 0

    def connected(self, host: str) -> None:
        self._fresh.add(host)

    def begins_anew(self, host: str) -> None:
        number = self._numberings.get(_base(host), 1) + 1
        # There at once: after a kill it is gone on with, and not with the one before it.
        (self._directory / _folder(host, number)).mkdir(parents=True, exist_ok=True)
        self._numberings[_base(host)] = number

    async def take(self, host: str, frame: bytes) -> None:
        while self.waiting_bytes and self.waiting_bytes + len(frame) > self._most:
            self._room.clear()
            self._hurry.set()
            await self._room.wait()
        self.waiting_bytes += len(frame)
        first = host in self._fresh
        self._fresh.discard(host)
        self._waiting.append(_Given(host, self._numberings.get(_base(host), 1), frame, self._now(), first))
        self._given += 1
        self._news.set()
        if len(self._waiting) >= _BATCH:
            self._hurry.set()

    async def flush(self) -> None:
        goal = self._given
        self._hurry.set()
        async with self._moved:
            await self._moved.wait_for(lambda: self._kept >= goal or self._broken is not None)
        if self._broken is not None:
            raise InvariantError(f"the tee has ended ({self._broken!r}): mend its disk, or start without `relay_tee`")
        async with self._files:
            await asyncio.to_thread(self._sync)

    async def run(self) -> None:
        """Until cancelled. An error of the disk is raised."""
        try:
            while True:
                await self._news.wait()
                with suppress(TimeoutError):  # a block a frame would be a poor archive
                    async with asyncio.timeout(_FLUSH_SECONDS):
                        await self._hurry.wait()
                await self._write()
        except (OSError, Refused) as error:
            self._broken = error
            async with self._moved:
                self._moved.notify_all()
            raise

    async def close(self) -> None:
        """After `run` has been cancelled."""
        while self._waiting and self._broken is None:
            await self._write()
        for archive in self._archives.values():
            await asyncio.to_thread(archive.writer.close)
        self._archives.clear()

    async def _write(self) -> None:
        self._news.clear()
        batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
        if self._waiting:
            self._news.set()
        else:
            self._hurry.clear()
        by_archive: dict[tuple[str, int], list[_Given]] = {}
        for given in batch:
            by_archive.setdefault((given.host, given.numbering), []).append(given)
        for (host, numbering), givens in by_archive.items():
            async with self._files:
                archive = await asyncio.to_thread(self._archive, host, numbering)
            items = await asyncio.to_thread(_items, archive, givens)
            documents = await self._documents(archive, items)
            async with self._files:
                await asyncio.to_thread(_append, archive, documents, [item for item, _ in items])
            self.teed += len(items)
            self.again += len(givens) - len(items)
        self.waiting_bytes -= sum(len(given.frame) for given in batch)
        self._kept += len(batch)
        self._room.set()
        async with self._moved:
            self._moved.notify_all()

    def _sync(self) -> None:
        for archive in tuple(self._archives.values()):
            if archive.dirty:
                archive.dirty = False
                archive.writer.sync()

    def _archive(self, host: str, numbering: int) -> _Archive:
        folder = _folder(host, numbering)
        found = self._archives.get(folder)
        if found is None:
            if len(self._archives) >= OPEN:
                _, idle = self._archives.popitem(last=False)
                idle.writer.close()
            found = self._archives[folder] = _Archive(self._directory / folder, host)
        self._archives.move_to_end(folder)
        return found

    async def _documents(self, archive: _Archive, items: list[tuple[Item, Numbered | None]]) -> list[Item]:
        """Of accounts that are not known yet, and of those that say that theirs has changed."""
        wanted: dict[Did, tuple[int, bool]] = {}
        for item, message in items:
            if message is None:
                continue
            changed = isinstance(message, IdentityMessage)
            if changed or message.did not in archive.known:
                before, fresh = wanted.get(message.did, (item.time, False))
                wanted[message.did] = (before, fresh or changed)
        if len(archive.known) + len(wanted) > _KNOWN:
            archive.known.clear()
        room = asyncio.Semaphore(_LOOKUPS)
        found = await asyncio.gather(*(self._ask(archive, did, room, fresh) for did, (_, fresh) in wanted.items()))
        documents = []
        for (did, (at, _)), document in zip(wanted.items(), found, strict=True):
            if document is None:
                self.undocumented += 1
            else:
                archive.known.add(did)
                documents.append(document_item(did, json_of(document), at))
        return documents

    async def _ask(self, archive: _Archive, did: Did, room: asyncio.Semaphore, fresh: bool) -> DidDocument | None:  # noqa: FBT001
        async with room:
            try:
                return await self._resolver.did_document(did, refresh=fresh and archive.refreshes.take())
            except Refused:
                return None


def _base(host: str) -> str:
    return host.replace(":", "_")


def _folder(host: str, numbering: int) -> str:
    return _base(host) if numbering == 1 else f"{_base(host)}~{numbering}"


def _numberings(directory: Path) -> dict[str, int]:
    """Of each host that has more than one archive, which is its newest."""
    found: dict[str, int] = {}
    for path in directory.glob("*~*") if directory.is_dir() else ():
        base, _, number = path.name.rpartition("~")
        if number.isascii() and number.isdigit():
            found[base] = max(found.get(base, 1), int(number))
    return found


def _items(archive: _Archive, givens: list[_Given]) -> list[tuple[Item, Numbered | None]]:
    """What is not in the archive already. A host sends again what came after our cursor, and that lags."""
    found = []
    for given in givens:
        item, message = frame_item(given.frame, given.time)
        archive.replay = archive.replay or given.first
        if message is not None:
            if archive.replay and message.seq <= archive.last:
                continue
            archive.replay = False
            archive.last = max(archive.last, message.seq)
        else:
            item = item._replace(seq=archive.last)
        found.append((item, message))
    return found


def _append(archive: _Archive, documents: list[Item], frames: list[Item]) -> None:
    for document in documents:
        archive.writer.document(document)
    for frame in frames:
        archive.writer.frame(frame)
    archive.writer.flush()
    archive.dirty = True


def json_of(document: DidDocument) -> dict[str, Any]:
    """A document that says what was read of one: handles, the signing key, services."""
    did = document.did
    key = document.signing_key
    method = {"id": f"{did}#atproto", "type": "Multikey", "controller": str(did)}
    return {
        "id": str(did),
        "alsoKnownAs": [f"at://{handle}" for handle in document.handles],
        "verificationMethod": [] if key is None else [{**method, "publicKeyMultibase": key.multikey}],
        "service": [
            {"id": service.id, "type": service.type, "serviceEndpoint": service.endpoint}
            for service in document.services
        ],
    }
