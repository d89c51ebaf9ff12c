"""The log's entries: what `commits` holds and what `derive` makes of it.

A published contract for other consumers; their bytes are `schemas.entry_codec`'s (`encode`,
`decode`). `time` is unix microseconds, stamped once by the log's writer: an appender passes 0. Does not own the rules
of acceptance (`ingest.verdict`) nor where an entry is stored.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.cid import Cid
from schemas.syntax import Did, Handle
from schemas.tid import Tid

Action = Literal["create", "update", "delete"]
Status = Literal["active", "deactivated", "deleted", "suspended", "takendown", "desynchronized", "throttled"]


class Op(msgspec.Struct, frozen=True, gc=False):
    """One key of a repo that a commit or a diff sets; `path` is "collection/rkey", `record` its DAG-CBOR."""

    action: Action
    path: str
    cid: Cid | None = None
    prev: Cid | None = None
    record: bytes | None = None


class Commit(msgspec.Struct, frozen=True):
    """A whole verified #commit; its firehose frame is `head + cbor_uint(seq) + tail`."""

    did: Did
    rev: Tid
    since: Tid | None
    commit: Cid
    data: Cid
    prev_data: Cid | None
    ops: tuple[Op, ...]
    head: bytes
    tail: bytes
    time: int = 0


class Sync(msgspec.Struct, frozen=True):
    """A verified #sync: the repo stands at (rev, data), however it came there."""

    did: Did
    rev: Tid
    commit: Cid
    data: Cid
    head: bytes
    tail: bytes
    time: int = 0


class Diff(msgspec.Struct, frozen=True):
    """Chunk `chunk` of `chunks` of what a resync or an import changed since (base_rev, base_data).

    Applied whole at the last chunk, if the head is still the base. `first` is the offset of chunk 0 in its shard:
    None in chunk 0, and None in later chunks only when `append_many` puts them into the log with chunk 0.
    `told`: subscribers of the firehose are told by a #sync where the repo stands, once the diff is in; without it
    whoever appends the diff tells them.
    """

    did: Did
    base_rev: Tid | None
    base_data: Cid | None
    rev: Tid
    commit: Cid
    commit_block: bytes
    data: Cid
    chunk: int
    chunks: int
    first: int | None
    ops: tuple[Op, ...]
    time: int = 0
    told: bool = False


class Identity(msgspec.Struct, frozen=True):
    """The handle as ingest verified it in both directions; None when none holds."""

    did: Did
    handle: Handle | None
    time: int = 0


class Account(msgspec.Struct, frozen=True):
    """The state that the account's owner or host gave it."""

    did: Did
    status: Status
    time: int = 0


class Moderation(msgspec.Struct, frozen=True):
    """A takedown of an account (`subject` a DID) or of a record (an AT-URI); `takedown` None reverses it."""

    subject: str
    takedown: str | None
    time: int = 0


Entry = Commit | Sync | Diff | Identity | Account | Moderation


class RecordEntry(msgspec.Struct, frozen=True):
    """The current value of one key; `value` None is a tombstone. `first_time` is kept from create to delete."""

    did: Did
    collection: str
    rkey: str
    cid: Cid | None
    value: bytes | None
    rev: Tid
    first_time: int
    time: int
    n: int
    offset: int

    @property
    def uri(self) -> str:
        return f"at://{self.did}/{self.collection}/{self.rkey}"


class HeadEntry(msgspec.Struct, frozen=True):
    """Where an account's repo stands, with the signed commit that says so."""

    did: Did
    rev: Tid
    data: Cid
    commit: Cid
    commit_block: bytes
    time: int
    n: int
    offset: int


class AccountEntry(msgspec.Struct, frozen=True):
    """An account's handle and the state that readers apply (a takedown lies over what the owner set).

    `verified_at` is the log time of the entry that set the handle: a later change of state does not renew a claim.
    """

    did: Did
    handle: Handle | None
    status: Status
    verified_at: int
    time: int
    n: int
    offset: int


class TakedownEntry(msgspec.Struct, frozen=True):
    """Moderation of one record."""

    uri: str
    takedown: bool
    time: int
    n: int
    offset: int


Derived = RecordEntry | HeadEntry | AccountEntry | TakedownEntry

FirehoseKind = Literal["commit", "sync", "identity", "account"]


class FirehoseEvent(msgspec.Struct, frozen=True):
    """One frame of subscribeRepos, split around its `seq`: serving it is a splice."""

    seq: int
    did: Did
    kind: FirehoseKind
    head: bytes
    tail: bytes
    time: int

    def frame(self) -> bytes:
        return self.head + cbor_uint(self.seq) + self.tail


def cbor_uint(value: int) -> bytes:
    """`value` as a minimal CBOR unsigned integer (RFC 8949, section 3.1)."""
    if value < 24:
        return bytes((value,))
    if value < 1 << 8:
        return b"\x18" + value.to_bytes(1, "big")
    if value < 1 << 16:
        return b"\x19" + value.to_bytes(2, "big")
    if value < 1 << 32:
        return b"\x1a" + value.to_bytes(4, "big")
    return b"\x1b" + value.to_bytes(8, "big")
