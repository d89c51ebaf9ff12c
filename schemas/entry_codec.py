"""The bytes of the log's entries: `encode` and `decode`, version 1.

Layout: one byte version, one byte kind, then a MessagePack array. Records of a commit lie in its frame already, so an
operation holds (start, length) into `tail` and decoding parses no CAR; a record that is not there in one piece, or
belongs to a diff, is held inline. A diff that subscribers are told of is a kind of its own, which a headrace before it
does not take for another. Does not own the entries' meaning (`schemas.entries`).
"""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from schemas.cid import Cid
from schemas.entries import Account, Action, Commit, Diff, Entry, FirehoseKind, Identity, Moderation, Op, Sync
from schemas.errors import InvariantError
from schemas.syntax import Did, Handle
from schemas.tid import Tid

VERSION = 1
COMMIT, SYNC, DIFF, IDENTITY, ACCOUNT, MODERATION, TOLD_DIFF = range(1, 8)
DIFF_MARKS = (bytes((VERSION, DIFF)), bytes((VERSION, TOLD_DIFF)))
"""How the bytes of a diff begin."""

_ACTIONS: tuple[Action, ...] = get_args(Action)
_ACTION_CODES = {action: code for code, action in enumerate(_ACTIONS)}


def _plain(value: object) -> object:
    """MessagePack knows no subclass of str: `Did` and its like go as what they are."""
    if isinstance(value, str):
        return str(value)
    raise InvariantError(f"an entry holds {type(value).__name__}, which has no place in version {VERSION} of the codec")


_encode = msgspec.msgpack.Encoder(enc_hook=_plain).encode
_decode = msgspec.msgpack.Decoder().decode


def _raw(cid: Cid | None) -> bytes | None:
    return None if cid is None else cid.raw


def _ops(ops: tuple[Op, ...], tail: bytes) -> list[tuple[Any, ...]]:
    """HOT: one tuple an operation; a record's place in `tail` rather than its bytes."""
    rows: list[tuple[Any, ...]] = []
    for op in ops:
        record = op.record
        at: object = None
        if record is not None:
            start = tail.find(record)
            at = record if start < 0 else (start, len(record))
        rows.append((_ACTION_CODES[op.action], op.path, _raw(op.cid), _raw(op.prev), at))
    return rows


def _ops_of(rows: list[Any], tail: bytes) -> tuple[Op, ...]:
    ops = []
    for action, path, cid, prev, at in rows:
        record = tail[at[0] : at[0] + at[1]] if isinstance(at, list) else at
        ops.append(Op(_ACTIONS[action], path, cid and Cid(cid), prev and Cid(prev), record))
    return tuple(ops)


def encode(entry: Entry) -> bytes:
    """HOT: the entry's bytes."""
    kind: int
    body: tuple[Any, ...]
    match entry:
        case Commit(did, rev, since, commit, data, prev_data, ops, head, tail, time):
            kind = COMMIT
            since_text = None if since is None else str(since)
            places = _ops(ops, tail)
            body = (str(did), str(rev), since_text, commit.raw, data.raw, _raw(prev_data), places, head, tail, time)
        case Sync():
            kind = SYNC
            body = (entry.did, entry.rev, entry.commit.raw, entry.data.raw, entry.head, entry.tail, entry.time)
        case Diff():
            kind = TOLD_DIFF if entry.told else DIFF
            body = (
                *(entry.did, entry.base_rev, _raw(entry.base_data), entry.rev, entry.commit.raw, entry.commit_block),
                *(entry.data.raw, entry.chunk, entry.chunks, entry.first, _ops(entry.ops, b""), entry.time),
            )
        case Identity():
            kind, body = IDENTITY, (entry.did, entry.handle, entry.time)
        case Account():
            kind, body = ACCOUNT, (entry.did, entry.status, entry.time)
        case Moderation():
            kind, body = MODERATION, (entry.subject, entry.takedown, entry.time)
    return bytes((VERSION, kind)) + _encode(body)


def decode(data: bytes) -> Entry:
    """The entry that `encode` was given. Raises InvariantError for a version or a kind that this code does not know."""
    if len(data) < 2 or data[0] != VERSION or not COMMIT <= data[1] <= TOLD_DIFF:
        found = f"version {data[0]}, kind {data[1]}" if len(data) >= 2 else f"{len(data)} bytes"
        raise InvariantError(
            f"log entry: expected version {VERSION} and a kind of {COMMIT} to {TOLD_DIFF}, found {found}; "
            "this log was written by a newer headrace: upgrade this one"
        )
    kind = data[1]
    f = _decode(memoryview(data)[2:])
    if kind == COMMIT:
        did, rev, since, commit, data_, prev_data, ops, head, tail, time = f
        since = since and Tid(since)
        prev = prev_data and Cid(prev_data)
        return Commit(Did(did), Tid(rev), since, Cid(commit), Cid(data_), prev, _ops_of(ops, tail), head, tail, time)
    if kind == SYNC:
        return Sync(Did(f[0]), Tid(f[1]), Cid(f[2]), Cid(f[3]), f[4], f[5], f[6])
    if kind in (DIFF, TOLD_DIFF):
        did, base_rev, base_data, rev, commit, block, data_, chunk, chunks, first, ops, time = f
        return Diff(
            *(Did(did), base_rev and Tid(base_rev), base_data and Cid(base_data), Tid(rev), Cid(commit), block),
            *(Cid(data_), chunk, chunks, first, _ops_of(ops, b""), time),
            told=kind == TOLD_DIFF,
        )
    if kind == IDENTITY:
        return Identity(Did(f[0]), f[1] and Handle(f[1]), f[2])
    if kind == ACCOUNT:
        return Account(Did(f[0]), f[1], f[2])
    return Moderation(*f)


def frame_of(data: bytes) -> tuple[FirehoseKind, str, bytes, bytes]:
    """(kind, did, head, tail) of an encoded commit or #sync, without building the rest."""
    kind, f = data[1], _decode(memoryview(data)[2:])
    if data[0] != VERSION or kind not in (COMMIT, SYNC):
        raise InvariantError(f"log entry of version {data[0]}, kind {kind}: only commits and #syncs carry a frame")
    return ("commit", f[0], f[7], f[8]) if kind == COMMIT else ("sync", f[0], f[4], f[5])
