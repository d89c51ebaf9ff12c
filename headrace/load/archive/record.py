"""Records a subscribeRepos into an archive: frames as they came, and the documents they are verified by.

A batch is resolved, then written with its documents before it, then the next is read: what is not read waits with the
host. After a crash recording goes on from the last frame in the archive. Does not own the archive (`writer.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Protocol

import aiohttp

from headrace.load.archive.blocks import Item
from headrace.load.archive.items import Numbered, document_item, frame_item
from headrace.load.archive.writer import ArchiveWriter
from ingest.identity.reasons import IdentityRefused
from ingest.repo.frame import decode_frame
from ingest.repo.messages import ErrorMessage, IdentityMessage, InfoMessage
from schemas.errors import Refused
from schemas.limits import FRAME_MAX
from schemas.syntax import Did

BATCH_FRAMES = 1_024
BATCH_SECONDS = 1.0
SILENCE_SECONDS = 60.0
RETRIES = 8  # in a row without a frame, some two minutes
LOOKUPS = 32  # at once
KNOWN_MAX = 500_000  # accounts whose document is taken for known, some 100 B each


class RecordReason(StrEnum):
    """Why a recording ends before it was told to."""

    UNREACHABLE = "record_unreachable"
    REFUSED = "record_refused"


class Documents(Protocol):
    """Where DID documents come from."""

    def document(self, did: Did) -> Awaitable[Any]:
        """JSON. Raises IdentityRefused."""
        ...


class Recorder:
    """One recording; counts are what was written so far."""

    def __init__(
        self,
        url: str,
        writer: ArchiveWriter,
        documents: Documents | None,
        *,
        cursor: int | None,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """`url` is the host's, ws(s) or http(s), without a path; `cursor` is the last seq that is not wanted."""
        self.url = url.rstrip("/").replace("ws", "http", 1) if url.startswith("ws") else url.rstrip("/")
        self.cursor = cursor
        self.frames = 0
        self.documents = 0
        self.undocumented = 0
        self.connections = 0
        self._writer = writer
        self._documents = documents
        self._now = now
        self._known: set[str] = set()
        self._batch: list[tuple[Item, Numbered | None]] = []

    async def run(self, *, frames: int | None = None, stop: asyncio.Event | None = None) -> None:
        """Until so many frames are written or `stop` is set. Raises Refused(UNREACHABLE, REFUSED)."""
        stop = stop or asyncio.Event()
        failures = 0
        async with aiohttp.ClientSession() as session:
            while not stop.is_set() and (frames is None or self.frames < frames):
                before = self.frames
                try:
                    await self._connected(session, frames, stop)
                    cause = "the host closed the connection"
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    cause = f"{type(error).__name__}: {error}"
                finally:
                    await self._write()
                failures = 0 if self.frames > before else failures + 1
                if failures > RETRIES:
                    raise Refused(RecordReason.UNREACHABLE, f"{self.url}: {cause}, {failures} times in a row")
                await _pause(stop, min(30.0, 0.25 * 2**failures) if failures else 0)

    async def _connected(self, session: aiohttp.ClientSession, frames: int | None, stop: asyncio.Event) -> None:
        query = {} if self.cursor is None else {"cursor": str(self.cursor)}
        where = f"{self.url}/xrpc/com.atproto.sync.subscribeRepos"
        async with session.ws_connect(where, params=query, max_msg_size=FRAME_MAX, heartbeat=30.0) as socket:
            self.connections += 1
            stopped = asyncio.ensure_future(stop.wait())
            try:
                while not stop.is_set() and (frames is None or self.frames + len(self._batch) < frames):
                    if not await self._read(socket, stopped):
                        return
                    if len(self._batch) >= BATCH_FRAMES or self._is_due():
                        await self._write()
            finally:
                stopped.cancel()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse, stopped: asyncio.Future[Any]) -> bool:
        """Take one message, or write what waits when none comes soon. False at the connection's end."""
        reading = asyncio.ensure_future(socket.receive())
        try:
            patience = BATCH_SECONDS if self._batch else SILENCE_SECONDS
            await asyncio.wait((reading, stopped), timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done() and not stopped.done():
                if not self._batch:
                    raise TimeoutError(f"no frame in {SILENCE_SECONDS} s")
                await self._write()
                await asyncio.wait((reading, stopped), timeout=SILENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                return not stopped.done()
            message = reading.result()
        finally:
            reading.cancel()
        if message.type is not aiohttp.WSMsgType.BINARY:
            return False
        self._take(message.data)
        return True

    def _take(self, frame: bytes) -> None:
        item, message = frame_item(frame, self._now())
        if message is None:
            _refuse_error(self.url, frame)
            if _is_of_the_connection(frame):
                return
            item = item._replace(seq=self.cursor or 0)  # where it stood, so that it is played there
        else:
            self.cursor = message.seq
        self._batch.append((item, message))

    def _is_due(self) -> bool:
        return bool(self._batch) and self._now() - self._batch[0][0].time > BATCH_SECONDS * 1e6

    async def _write(self) -> None:
        batch, self._batch = self._batch, []
        if not batch:
            return
        await self._document([message for _, message in batch if message is not None], batch[0][0].time)
        for item, _ in batch:
            self._writer.frame(item)
        self._writer.sync()
        self.frames += len(batch)

    async def _document(self, messages: list[Numbered], at: int) -> None:
        """Put the documents of accounts not known yet, and of those whose identity changed, into the archive."""
        if self._documents is None:
            return
        changed = {message.did for message in messages if isinstance(message, IdentityMessage)}
        wanted = sorted(changed | {message.did for message in messages if message.did not in self._known})
        room = asyncio.Semaphore(LOOKUPS)
        found = await asyncio.gather(*(self._ask(did, room) for did in wanted))
        if len(self._known) + len(wanted) > KNOWN_MAX:
            self._known.clear()
        for did, document in zip(wanted, found, strict=True):
            if document is None:
                self.undocumented += 1
                continue
            self._known.add(did)
            self._writer.document(document_item(did, document, at))
            self.documents += 1

    async def _ask(self, did: Did, room: asyncio.Semaphore) -> Any:
        assert self._documents is not None
        async with room:
            try:
                return await self._documents.document(did)
            except IdentityRefused:
                return None


def _refuse_error(url: str, frame: bytes) -> None:
    try:
        message = decode_frame(frame)
    except Refused:
        return
    if isinstance(message, ErrorMessage) and message.error != "ConsumerTooSlow":
        raise Refused(RecordReason.REFUSED, f"{url} answered {message.error[:100]}: {(message.message or '')[:300]}")


def _is_of_the_connection(frame: bytes) -> bool:
    """#info and errors tell a subscriber about itself: they are no part of the stream."""
    try:
        return isinstance(decode_frame(frame), InfoMessage | ErrorMessage)
    except Refused:
        return False


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
