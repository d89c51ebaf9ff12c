"""The firehose as Jetstream's lines (version 1): made once for all subscribers, as whole websocket messages.

`time_us` is the event's log time: the lines of one commit share it. Frames come from the log, where all is verified;
what JSON cannot show is left out, as is #sync, which Jetstream does not carry. Does not own the form of a line
(`schemas/jetstream.py`) nor who wants which.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import zstandard

from api.outlet import message
from ingest.log import FirehoseReader
from ingest.repo.car import read_car
from ingest.repo.frame import decode_frame
from ingest.repo.messages import AccountMessage, CommitMessage, IdentityMessage
from schemas import jetstream
from schemas.cbor import CborRefused
from schemas.entries import FirehoseEvent

KEPT_EVENTS = 4_096
KEPT_BYTES = 16 * 1024 * 1024


class Line:
    """One line; `collection` is None for what no choice of collections leaves out."""

    __slots__ = ("_packed", "collection", "data", "did", "text")

    def __init__(self, did: str, collection: str | None, data: bytes) -> None:
        self.did = did
        self.collection = collection
        self.data = data
        self.text = message(data, text=True)
        self._packed: bytes | None = None

    def packed(self, compressor: zstandard.ZstdCompressor) -> bytes:
        """A whole websocket message; the first who asks pays."""
        if self._packed is None:
            self._packed = message(compressor.compress(self.data))
        return self._packed


class JetstreamLines:
    """Reads the log for any number of subscribers; the newest lines are kept, bounded by events and bytes."""

    def __init__(self, log: FirehoseReader) -> None:
        self._log = log
        self._kept: OrderedDict[int, list[Line]] = OrderedDict()
        self._size = 0

    async def read(self, after: int, limit: int) -> list[tuple[int, list[Line]]]:
        """(seq, lines) of at most `limit` events above `after`; an event may have none."""
        found = []
        keep = self._log.firehose_bounds()[1] - KEPT_EVENTS
        for event in await self._log.read_firehose(after, limit):
            lines = self._kept.get(event.seq)
            if lines is None:
                lines = list(lines_of(event))
                if event.seq > keep:
                    self._keep(event.seq, lines)
            found.append((event.seq, lines))
        return found

    async def wait(self, seen: int) -> None:
        await self._log.changed.wait_firehose(seen)

    def newest(self) -> int:
        return self._log.firehose_bounds()[1]

    async def before(self, time_us: int) -> int:
        """The seq before the first event at or after a log time; the newest if there is none yet."""
        oldest, newest, _ = self._log.firehose_bounds()
        low, high = (oldest or newest + 1) - 1, newest
        while low < high:
            middle = (low + high) // 2
            event = await self._log.read_firehose(middle, 1)
            if event and event[0].time < time_us:
                low = event[0].seq
            else:
                high = middle
        return low

    def _keep(self, seq: int, lines: list[Line]) -> None:
        self._kept[seq] = lines
        self._size += sum(len(line.data) for line in lines)
        while len(self._kept) > KEPT_EVENTS or self._size > KEPT_BYTES:
            _, gone = self._kept.popitem(last=False)
            self._size -= sum(len(line.data) for line in gone)


def lines_of(event: FirehoseEvent) -> Iterator[Line]:
    """The lines of one event."""
    if event.kind == "sync":
        return
    did, time_us = event.did, event.time
    found = decode_frame(event.frame())
    match found:
        case CommitMessage(rev=rev, ops=ops):
            blocks = read_car(found.blocks)[1] if any(op.cid is not None for op in ops) else {}
            for op in ops:
                record = None if op.cid is None else blocks.get(op.cid.raw)
                if op.cid is not None and record is None:
                    continue
                try:
                    line = jetstream.commit_line(did, time_us, rev, op.action, op.path, record, op.cid)
                except CborRefused:
                    continue
                yield Line(did, op.path.partition("/")[0], line)
        case IdentityMessage(seq=seq, time=time, handle=handle):
            yield Line(did, None, jetstream.identity_line(did, time_us, seq, time, handle))
        case AccountMessage(seq=seq, time=time, active=active, status=status):
            yield Line(did, None, jetstream.account_line(did, time_us, seq, time, active=active, status=status))
