"""One transaction of derive: entries of a shard judged in order, and the messages that follow from them.

1. What it decides rests on the committed state and on this batch alone (`ingest.log_kafka.derive.overlay`).
2. The place in `commits` goes into `records` with what was derived up to there, as the last message: who has read the
   partition to its end knows where to go on, whatever became of the group's offsets (docs/decisions/0010).
3. An entry that needs more than `step` derived entries ends the batch; the next one goes on with it, from that place.

Does not own the transaction (`ingest.log_kafka.derive.lane`), nor acceptance and what follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from ingest.derive import STEP, Known, State, Step, derive, derive_deletion, derive_diff, did_of
from ingest.log import Reason
from ingest.log_kafka.derive.overlay import Overlay, state_of
from ingest.verdict import Reject, accept, complete
from schemas import operations
from schemas.entries import Account, AccountEntry, Diff, Entry, HeadEntry
from schemas.errors import InvariantError
from schemas.firehose_codec import encode_event
from schemas.operations import Operation
from schemas.records_codec import DerivePlace, HeadGone, Message, StateOnly, encode, encode_own
from schemas.rejections_codec import Rejection, encode_rejection


class Source(msgspec.Struct, frozen=True):
    """A message of `commits`; `pds` names the one of ours that wrote it."""

    offset: int
    entry: Entry
    pds: str | None = None
    trace: bytes | None = None
    """Of a write that is looked at (`schemas.tracing`)."""


class Chunks(Protocol):
    """Reads `commits` again for a diff's chunks."""

    async def find(self, first: int, last: int, did: str) -> Sequence[tuple[int, Diff]]:
        """(offset, chunk without its operations) of the account's chunks from `first` to `last`, in order."""
        ...

    async def load(self, offset: int) -> Diff: ...


class Owned(Protocol):
    """What accounts of the shard have set (`operations`), as far as it is committed."""

    async def keys(self, did: str, after: int, until: int, limit: int) -> Sequence[tuple[str, str]]:
        """(kind, subject) of at most `limit` of an account's, in order: set above one log time and up to another."""
        ...


class Batch:
    """HOT. `place` is where the shard stands before it and, as entries are added, after it."""

    def __init__(
        self,
        shard: int,
        state: State,
        place: DerivePlace,
        chunks: Chunks,
        step: int = STEP,
        *,
        owned: Owned | None = None,
    ) -> None:
        """Without `owned` there are no operations to remove."""
        self._shard = shard
        self._chunks = chunks
        self._step = step
        self._owned = owned
        self.changed = Overlay(state)
        self.place = place
        self.needed = place.done
        """The offset behind which nothing of `commits` is needed any more."""
        self.records: list[Message] = []
        self.firehose: list[bytes] = []
        self.rejections: list[tuple[bytes, bytes]] = []
        self.operations: list[tuple[bytes, bytes | None, operations.Headers]] = []
        """Messages of `operations`: removals."""
        # Up to which log time what an account has set is removed by this batch.
        self._forgotten: dict[str, int] = {}
        self.rejected: list[Reason] = []
        self.entries = 0

    async def add(self, source: Source) -> bool:
        """The next entry; False when only a part of it is in: the batch is full, and the next goes on with it."""
        offset, entry = source.offset, source.entry
        began = self.place if self.place.began else None
        if offset <= self.place.done:
            raise InvariantError(
                f"commits[{self._shard}]@{offset} comes after {self.place.done}: the topic was replaced or cut; "
                "compare its id with the one the cluster was created with"
            )
        if began is not None:
            done = await self._go_on(source, began)
        else:
            self.entries += 1
            verdict = accept(None if (known := self._known(entry)) is None else known.head, entry)
            if isinstance(verdict, Reject):
                done = self._reject(source, verdict)
            elif isinstance(entry, Diff):
                done = entry.chunk < entry.chunks - 1 or await self._diff(source, entry, DerivePlace())
            else:
                step = derive(entry, verdict.partial, self.place.n, self.changed, self._step)
                self._take(step, entry.time)
                gone = not isinstance(entry, Account) or entry.status != "deleted" or await self._forget(entry)
                done = (step.done and gone) or self._leave(offset - 1, offset)
        if done:
            self.place = DerivePlace(offset, self.place.n)
            self.needed = offset
        return done

    def pass_over(self, offset: int) -> None:
        """Up to here `commits` holds no more entries: what lies between is markers of transactions."""
        if not self.place.began and offset > self.place.done:
            self.place = DerivePlace(offset, self.place.n)
            self.needed = offset

    def messages(self) -> list[Message]:
        """Those of `records`, the place last."""
        return [*self.records, encode_own(self.place)]

    async def _go_on(self, source: Source, began: DerivePlace) -> bool:
        entry = source.entry
        if isinstance(entry, Diff):
            return await self._diff(source, entry, began)
        if not isinstance(entry, Account):
            raise InvariantError(
                f"commits[{self._shard}]@{source.offset} holds {type(entry).__name__}, expected the deletion or the "
                "diff that was derived in part: the topic was replaced"
            )
        step = derive_deletion(entry, self.place.n, self.changed, self._step)
        self._take(step, entry.time)
        gone = await self._forget(entry)
        return (step.done and gone) or self._leave(source.offset - 1, source.offset)

    async def _forget(self, entry: Account) -> bool:
        """Remove what a deleted account has set, as much as fits a step; whether that is all of it."""
        if self._owned is None:
            return True
        after = self._forgotten.get(entry.did, -1)
        keys = await self._owned.keys(entry.did, after, entry.time, self._step + 1)
        for kind, subject in keys[: self._step]:
            self.operations.append(operations.encode(Operation(entry.did, kind, subject, None, entry.time)))
        if len(keys) > self._step:
            return False
        self._forgotten[entry.did] = max(after, entry.time)
        return True

    async def _diff(self, source: Source, last: Diff, at: DerivePlace) -> bool:
        """Apply what fits of a diff whose last chunk is in, from operation `at.op` of chunk `at.chunk`."""
        offsets = await self._whole(source, last)
        if isinstance(offsets, Reject):
            if at.began:
                raise InvariantError(f"commits[{self._shard}]@{source.offset}: half of a diff is derived: {offsets}")
            return self._reject(source, offsets)
        number, op, room = at.chunk, at.op, self._step
        while room > 2:
            chunk = last if number == last.chunk else await self._chunks.load(offsets[number])
            step = derive_diff(last, chunk, op, self.place.n, self.changed, room=room)
            self._take(step, last.time)
            room -= len(step.entries)
            if not step.done:
                op += len(step.index)
            elif number + 1 < len(offsets):
                number, op = number + 1, 0
            else:
                return True
        return self._leave(source.offset - 1, offsets[0], number, op)

    async def _whole(self, source: Source, last: Diff) -> tuple[int, ...] | Reject:
        """The offsets of a diff's chunks; a range is read again, since another owner may have read its beginning."""
        offset = source.offset
        if last.chunks == 1 or last.first is None:
            return complete(last, [(offset, offset, last)])
        found = await self._chunks.find(last.first, offset, last.did)
        return complete(last, [(at, at, chunk) for at, chunk in found])

    def _leave(self, done: int, needed: int, chunk: int = 0, op: int = 0) -> bool:
        self.place = DerivePlace(done, self.place.n, True, chunk, op)
        self.needed = needed - 1
        return False

    def _reject(self, source: Source, verdict: Reject) -> bool:
        self.rejected.append(verdict.reason)
        if source.pds is not None:
            did = did_of(source.entry)
            said = Rejection(
                source.pds, str(verdict.reason), verdict.detail, self._shard, source.offset, source.entry.time
            )
            self.rejections.append((did.encode(), encode_rejection(said)))
        return True

    def _known(self, entry: Entry) -> Known | None:
        return self.changed.known(did_of(entry))

    def _take(self, step: Step, time: int) -> None:
        """Put a step's messages and its state into the batch."""
        before = self.changed.known(step.did)
        self.changed.take(step)
        after = self.changed.known(step.did)
        state = state_of(after.head) if after is not None else None
        said = False
        for entry in step.entries:
            if isinstance(entry, AccountEntry | HeadEntry):
                assert state is not None
                self.records.append(encode(entry, state))
                said = True
            else:
                self.records.append(encode(entry))
        if after is not None and after is not before:
            if before is not None and before.head_at is not None and after.head_at is None:
                self.records.append(encode_own(HeadGone(step.did)))
            if not said:
                self.records.append(encode_own(StateOnly(step.did, state_of(after.head))))
        if step.event is not None:
            self.firehose.append(encode_event(step.did, step.event, time))
        self.place = msgspec.structs.replace(self.place, n=step.end)
