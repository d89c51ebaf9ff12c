"""What follows from an accepted entry: derived entries, at most one firehose event, and the next state.

Pure: reads state through `State`, writes nothing; the adapter stores a `Step` in one transaction. Does not own
acceptance (`ingest.verdict`), nor offsets' storage.

1. A step holds at most `STEP` derived entries. An entry that needs more goes on in later steps, before anything else of
   its shard; a redo goes on with what the index still holds (EXACTNESS 16).
2. Records come before their head, so that who has read a head has read what it stands for.
3. `first_time` is the log time of the entry that created the key since its last delete (EXACTNESS 18).
4. Every account has an account entry before anything else of it.
5. A takedown lies over the owner's state: both are kept, readers are given the one on top.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from ingest.commit_block import find_commit_block
from ingest.log import Head
from ingest.repo.car import car_bytes
from ingest.repo.frame import account_frame, identity_frame, sync_frame
from schemas.datetimes import from_micros
from schemas.entries import (
    Account,
    AccountEntry,
    Commit,
    Derived,
    Diff,
    Entry,
    FirehoseKind,
    HeadEntry,
    Identity,
    Moderation,
    Op,
    RecordEntry,
    Sync,
    TakedownEntry,
)
from schemas.errors import InvariantError
from schemas.syntax import Did
from schemas.tid import Tid

STEP = 1000

Place = tuple[int, int]
"""Where a live record's newest entry stands in `records`, and its first_time."""


class Known(msgspec.Struct, frozen=True):
    """An account's head, and where its newest head and account entries stand in `records`."""

    head: Head
    head_at: int | None = None
    account_at: int | None = None


class State(Protocol):
    """What derive may ask of the entries before this one."""

    def known(self, did: str) -> Known | None: ...

    def place(self, did: str, path: str) -> Place | None: ...

    def live(self, did: str, limit: int) -> list[tuple[str, Place]]:
        """The first `limit` live paths of an account in byte order."""
        ...

    def takedown_at(self, uri: str) -> int | None: ...


class Step(msgspec.Struct):
    """One transaction's worth of what follows from an entry."""

    did: Did
    end: int
    """The offset of the newest derived entry of the shard, this step's included."""
    entries: list[Derived] = []
    replaces: list[int | None] = []
    """For each of `entries`, the offset of the one it makes superfluous."""
    index: list[tuple[str, Place | None]] = []
    known: Known | None = None
    """The account's next state, where it changes."""
    event: tuple[FirehoseKind, bytes, bytes] | None = None
    done: bool = True

    def put(self, entry: Derived, replaces: int | None) -> None:
        self.end += 1
        self.entries.append(entry)
        self.replaces.append(replaces)


def derive(entry: Entry, partial: bool, end: int, state: State, room: int = STEP) -> Step:  # noqa: FBT001 - the verdict's mark
    """HOT: the first step of an accepted entry.

    `end` is the shard's end of `records` before it, `room` how many tombstones and others the step may hold.
    """
    if isinstance(entry, Commit):
        return _commit(entry, partial, end, state)
    if isinstance(entry, Sync):
        return _sync(entry, partial, end, state)
    if isinstance(entry, Diff):
        raise InvariantError("a diff is derived chunk by chunk: see derive_diff")
    if isinstance(entry, Moderation):
        return _moderation(entry, end, state)
    known = state.known(entry.did) or Known(Head(entry.did))
    step = Step(entry.did, end)
    if isinstance(entry, Identity):
        _set_account(
            step, known, msgspec.structs.replace(known.head, handle=entry.handle, verified_at=entry.time), entry.time
        )
        frame = identity_frame(did=entry.did, time=from_micros(entry.time), handle=entry.handle)
        step.event = ("identity", *frame)
        return step
    head = msgspec.structs.replace(known.head, status=entry.status)
    if entry.status == "deleted":
        head = msgspec.structs.replace(head, data=None, commit=None, commit_block=None, partial=False)
    known = _set_account(step, known, head, entry.time)
    step.event = _account_event(head, entry.time)
    if entry.status == "deleted":
        step.known = msgspec.structs.replace(known, head_at=None)
        _bury(step, head, entry.time, state, room)
    return step


def derive_deletion(entry: Account, end: int, state: State, room: int = STEP) -> Step:
    """A later step of an account's deletion: the next tombstones."""
    known = state.known(entry.did)
    if known is None:
        raise InvariantError(f"{entry.did}: its deletion is half done and no head is known of it")
    step = Step(entry.did, end)
    _bury(step, known.head, entry.time, state, room)
    return step


def derive_diff(last: Diff, chunk: Diff, start: int, end: int, state: State, *, room: int = STEP) -> Step:
    """The part of a step that applies `chunk.ops[start:]`, as many as fit; the head moves with the last of them.

    `room` is how many entries it may hold, 3 or more: an account, a record, a head.
    `done` says that the chunk is done. `last` is the diff's last chunk: its time is the time of all that follows.
    Who reads the firehose is told by a #sync where the repo stands, if the diff says so and the head moves: a diff that
    fills what was missing below a head leaves no gap in the chain.
    """
    known = state.known(last.did) or Known(Head(last.did))
    step = Step(last.did, end)
    if known.account_at is None:
        known = _set_account(step, known, known.head, last.time)
    room -= len(step.entries) + 1
    _records(step, last.rev, last.time, chunk.ops[start : start + room], state)
    step.done = start + room >= len(chunk.ops)
    if step.done and chunk.chunk == chunk.chunks - 1:
        _set_head(step, known, last, last.commit_block, partial=False)
        if last.told and last.commit != known.head.commit:
            blocks = car_bytes(last.commit, {last.commit.raw: last.commit_block})
            step.event = ("sync", *sync_frame(did=last.did, rev=last.rev, blocks=blocks, time=from_micros(last.time)))
    return step


def _commit(entry: Commit, partial: bool, end: int, state: State) -> Step:  # noqa: FBT001
    did = entry.did
    known = state.known(did)
    step = Step(did, end)
    if known is None or known.account_at is None:
        known = _set_account(step, known or Known(Head(did)), Head(did) if known is None else known.head, entry.time)
    _records(step, entry.rev, entry.time, entry.ops, state, whole=not partial)
    _set_head(step, known, entry, find_commit_block(entry.tail, entry.commit), partial=partial)
    step.event = ("commit", entry.head, entry.tail)
    return step


def _sync(entry: Sync, partial: bool, end: int, state: State) -> Step:  # noqa: FBT001
    known = state.known(entry.did)
    step = Step(entry.did, end, event=("sync", entry.head, entry.tail))
    if known is None or known.account_at is None:
        known = _set_account(
            step, known or Known(Head(entry.did)), known.head if known else Head(entry.did), entry.time
        )
    if entry.commit != known.head.commit:
        _set_head(step, known, entry, find_commit_block(entry.tail, entry.commit), partial=partial)
    return step


def _moderation(entry: Moderation, end: int, state: State) -> Step:
    if not entry.subject.startswith("at://"):
        did = Did(entry.subject)
        known = state.known(did) or Known(Head(did))
        head = msgspec.structs.replace(known.head, taken_down=entry.takedown is not None)
        step = Step(did, end)
        if head.effective_status != known.head.effective_status:
            _set_account(step, known, head, entry.time)
            step.event = _account_event(head, entry.time)
        elif head != known.head:
            step.known = msgspec.structs.replace(known, head=head)
        return step
    uri = entry.subject
    step = Step(did_of(entry), end)
    offset = end + 1
    step.put(TakedownEntry(uri, entry.takedown is not None, entry.time, offset, offset), state.takedown_at(uri))
    return step


def did_of(entry: Entry) -> Did:
    """The account that an entry belongs to, which decides its shard."""
    if isinstance(entry, Moderation):
        subject = entry.subject
        return Did(subject.split("/", 3)[2] if subject.startswith("at://") else subject)
    return entry.did


def _records(step: Step, rev: Tid, time: int, ops: tuple[Op, ...], state: State, *, whole: bool = False) -> None:
    """HOT: one entry an operation.

    `whole`: a commit to a repo of which nothing is missing. What it creates was not there, as its inversion has shown,
    so the index need not be asked.
    """
    did = step.did
    here: dict[str, Place | None] = {}  # a path may come twice in a diff
    several = len(ops) > 1
    for op in ops:
        path = op.path
        if whole and op.action == "create":
            place = None
        else:
            place = here[path] if several and path in here else state.place(did, path)
        offset = step.end + 1
        collection, _, rkey = path.partition("/")
        now: Place | None
        if op.action == "delete":
            now = None
            first = time if place is None else place[1]
            entry = RecordEntry(did, collection, rkey, None, None, rev, first, time, offset, offset)
        else:
            if op.cid is None or op.record is None:
                raise InvariantError(f"at://{did}/{path}: a verified {op.action} comes with its record and its CID")
            first = time if place is None else place[1]
            now = (offset, first)
            entry = RecordEntry(did, collection, rkey, op.cid, op.record, rev, first, time, offset, offset)
        step.put(entry, None if place is None else place[0])
        step.index.append((path, now))
        if several:
            here[path] = now


def _bury(step: Step, head: Head, time: int, state: State, room: int) -> None:
    """Tombstones for the account's live records, as many as fit."""
    room -= len(step.entries)
    live = state.live(head.did, room + 1)
    for path, (at, first) in live[:room]:
        if head.rev is None:
            raise InvariantError(f"at://{head.did}/{path}: a live record of an account without a rev")
        collection, _, rkey = path.partition("/")
        offset = step.end + 1
        step.put(RecordEntry(head.did, collection, rkey, None, None, head.rev, first, time, offset, offset), at)
        step.index.append((path, None))
    step.done = len(live) <= room


def _set_account(step: Step, known: Known, head: Head, time: int) -> Known:
    offset = step.end + 1
    step.put(
        AccountEntry(head.did, head.handle, head.effective_status, head.verified_at, time, offset, offset),
        known.account_at,
    )
    step.known = Known(head, known.head_at, offset)
    return step.known


def _account_event(head: Head, time: int) -> tuple[FirehoseKind, bytes, bytes]:
    status = head.effective_status
    active = status == "active"
    frame = account_frame(did=head.did, time=from_micros(time), active=active, status=None if active else status)
    return ("account", *frame)


def _set_head(step: Step, known: Known, entry: Commit | Sync | Diff, block: bytes, *, partial: bool) -> None:
    offset = step.end + 1
    old = known.head
    step.put(
        HeadEntry(entry.did, entry.rev, entry.data, entry.commit, block, entry.time, offset, offset), known.head_at
    )
    head = msgspec.structs.replace(
        old, rev=entry.rev, data=entry.data, commit=entry.commit, commit_block=block, partial=partial
    )
    step.known = Known(head, offset, known.account_at)
