"""The messages of `records`: `encode` and `decode`, version 1 (docs/topics.md).

Keys: a record's AT-URI; an account's DID followed by `#head`, `#account` or `#state`; a taken-down URI followed by
`#takedown`; `#derive` for the place in `commits` that the partition has been derived to. Values: one byte version, one
byte kind, then a MessagePack array. A deleted record and the head of a deleted account have no value; a deleted
record's rev and times stand in its headers, in decimal.

Readers are given `Derived` entries; `#state`, `#derive` and missing heads are derive's own, from which it begins again.
Does not own the entries' meaning (`schemas.entries`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from schemas.cid import Cid
from schemas.entries import AccountEntry, Derived, HeadEntry, RecordEntry, Status, TakedownEntry
from schemas.errors import InvariantError
from schemas.syntax import Did, Handle
from schemas.tid import Tid

VERSION: Final = 1
RECORD, HEAD, ACCOUNT, TAKEDOWN, STATE, PLACE = range(1, 7)

Headers = Sequence[tuple[str, bytes]]
Message = tuple[bytes, bytes | None, list[tuple[str, bytes]]]
"""(key, value, headers)."""

PLACE_KEY: Final = b"#derive"
_HEAD_KEY: Final = b"#head"


class AccountState(msgspec.Struct, frozen=True):
    """What derive knows of an account that its entries do not say to readers.

    `status` is the owner's own, under a takedown; `rev` the newest ever, also of a repo that is deleted.
    """

    status: Status = "active"
    taken_down: bool = False
    rev: Tid | None = None
    partial: bool = False


class StateOnly(msgspec.Struct, frozen=True):
    """An account's state has changed and no entry of it says so."""

    did: Did
    state: AccountState


class HeadGone(msgspec.Struct, frozen=True):
    """The account's repo is deleted."""

    did: Did


class DerivePlace(msgspec.Struct, frozen=True):
    """Where derive stands: `done` entries of `commits` up to this offset, `n` the newest number given.

    With `began`, the entry after `done` is derived in part, and goes on at operation `op` of chunk `chunk`.
    """

    done: int = 0
    n: int = 0
    began: bool = False
    chunk: int = 0
    op: int = 0


Content = Derived | StateOnly | HeadGone | DerivePlace

_UNKNOWN = AccountState()
_encode = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


def encode(entry: Derived, state: AccountState = _UNKNOWN) -> Message:
    """HOT: the message of an entry; `state` is the account's after it, for heads and accounts."""
    if isinstance(entry, RecordEntry):
        key = entry.uri.encode()
        if entry.value is None or entry.cid is None:
            numbers = (("time", entry.time), ("first", entry.first_time), ("n", entry.n))
            headers = [("v", b"1"), ("rev", entry.rev.encode()), *((name, b"%d" % value) for name, value in numbers)]
            return key, None, headers
        body: tuple[Any, ...] = (entry.cid.raw, str(entry.rev), entry.first_time, entry.time, entry.n, entry.value)
        return key, _value(RECORD, body), []
    if isinstance(entry, HeadEntry):
        body = (str(entry.rev), entry.data.raw, entry.commit.raw, entry.commit_block, entry.time, entry.n)
        return entry.did.encode() + _HEAD_KEY, _value(HEAD, (*body, state.partial)), []
    if isinstance(entry, AccountEntry):
        handle = None if entry.handle is None else str(entry.handle)
        body = (handle, entry.status, entry.verified_at, entry.time, entry.n, *_state(state))
        return entry.did.encode() + b"#account", _value(ACCOUNT, body), []
    return entry.uri.encode() + b"#takedown", _value(TAKEDOWN, (entry.takedown, entry.time, entry.n)), []


def encode_own(content: StateOnly | HeadGone | DerivePlace) -> Message:
    """A message of derive's own."""
    if isinstance(content, StateOnly):
        return content.did.encode() + b"#state", _value(STATE, _state(content.state)), []
    if isinstance(content, HeadGone):
        return content.did.encode() + _HEAD_KEY, None, [("v", b"1")]
    return PLACE_KEY, _value(PLACE, msgspec.structs.astuple(content)), []


def decode(key: bytes, value: bytes | None, headers: Headers, offset: int) -> Derived | None:
    """HOT: the entry of a message at `offset` (the log's, Kafka's + 1); None where it holds nothing for readers.

    Raises InvariantError for a version or a kind that this code does not know.
    """
    content = read(key, value, headers, offset)[0]
    return None if isinstance(content, StateOnly | HeadGone | DerivePlace) else content


def read(key: bytes, value: bytes | None, headers: Headers, offset: int) -> tuple[Content, AccountState | None]:
    """HOT: what a message holds, and the account's state where a head or an account carries it.

    A head says only `rev` and `partial` of the state, an account all but `partial`.
    """
    if value is None:
        return _gone(key, headers, offset), None
    if len(value) < 2 or value[0] != VERSION or not RECORD <= value[1] <= PLACE:
        found = f"version {value[0]}, kind {value[1]}" if len(value) >= 2 else f"{len(value)} bytes"
        raise _unknown(offset, f"a kind of {RECORD} to {PLACE}", found)
    kind = value[1]
    f = _unpack(memoryview(value)[2:])
    text = key.decode()
    if kind == RECORD:
        did, collection, rkey = text[5:].split("/")
        cid, rev, first, time, n, data = f
        return RecordEntry(Did(did), collection, rkey, Cid(cid), data, Tid(rev), first, time, n, offset), None
    if kind == PLACE:
        return DerivePlace(*f), None
    subject = text[: text.rindex("#")]
    if kind == TAKEDOWN:
        takedown, time, n = f
        return TakedownEntry(subject, takedown, time, n, offset), None
    did = Did(subject)
    if kind == HEAD:
        rev, data, commit, block, time, n, partial = f
        head = HeadEntry(did, Tid(rev), Cid(data), Cid(commit), block, time, n, offset)
        return head, AccountState(rev=head.rev, partial=partial)
    if kind == ACCOUNT:
        handle, status, verified_at, time, n, *state = f
        entry = AccountEntry(did, handle and Handle(handle), status, verified_at, time, n, offset)
        return entry, _state_of(state)
    return StateOnly(did, _state_of(f)), None


def _gone(key: bytes, headers: Headers, offset: int) -> Content:
    """What a message without a value says."""
    said = dict(headers)
    if said.get("v") != b"1":
        raise _unknown(offset, "header v=1 on a deletion", f"v={said.get('v')!r}")
    if key.endswith(_HEAD_KEY):
        return HeadGone(Did(key[: -len(_HEAD_KEY)].decode()))
    did, collection, rkey = key[5:].decode().split("/")
    rev, first, time, n = Tid(said["rev"].decode()), int(said["first"]), int(said["time"]), int(said["n"])
    return RecordEntry(Did(did), collection, rkey, None, None, rev, first, time, n, offset)


def _unknown(offset: int, expected: str, found: str) -> InvariantError:
    return InvariantError(
        f"records@{offset}: expected version {VERSION} and {expected}, found {found}; "
        "this log was written by a newer headrace: upgrade this one"
    )


def _value(kind: int, body: Sequence[Any]) -> bytes:
    return bytes((VERSION, kind)) + _encode(body)


def _state(state: AccountState) -> tuple[str, bool, str | None]:
    return (state.status, state.taken_down, None if state.rev is None else str(state.rev))


def _state_of(fields: Sequence[Any]) -> AccountState:
    status, taken_down, rev = fields
    return AccountState(status, taken_down, rev and Tid(rev))
