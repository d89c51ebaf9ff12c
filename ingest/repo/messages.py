"""What arrives on a firehose, parsed: one struct a message kind (com.atproto.sync.subscribeRepos).

`head` and `tail` are the received frame around its `seq`, so that it can be served again with another number.
Does not own the wire (`ingest.repo.frame`) nor whether a message holds (`ingest.repo.verify`).
"""

from __future__ import annotations

import msgspec

from schemas.cid import Cid
from schemas.entries import Op
from schemas.syntax import Did
from schemas.tid import Tid


class CommitMessage(msgspec.Struct, frozen=True):
    """A #commit. Operations carry no record yet: the blocks hold them. `blocks` is a CAR."""

    seq: int
    did: Did
    rev: Tid
    since: Tid | None
    commit: Cid
    prev_data: Cid | None
    ops: tuple[Op, ...]
    blocks: bytes
    time: str
    rebase: bool
    too_big: bool
    head: bytes
    tail: bytes


class SyncMessage(msgspec.Struct, frozen=True):
    """A #sync: `blocks` is a CAR of the signed commit alone."""

    seq: int
    did: Did
    rev: Tid
    blocks: bytes
    time: str
    head: bytes
    tail: bytes


class IdentityMessage(msgspec.Struct, frozen=True):
    """A #identity: the account's identity may have changed. `handle` is a hint, not verified."""

    seq: int
    did: Did
    handle: str | None
    time: str
    head: bytes
    tail: bytes


class AccountMessage(msgspec.Struct, frozen=True):
    """A #account: what its host says of an account. `status` is open text when not active."""

    seq: int
    did: Did
    active: bool
    status: str | None
    time: str
    head: bytes
    tail: bytes


class InfoMessage(msgspec.Struct, frozen=True):
    """A #info, such as OutdatedCursor."""

    name: str
    message: str | None


class ErrorMessage(msgspec.Struct, frozen=True):
    """An error frame; the connection closes after it."""

    error: str
    message: str | None


class UnknownMessage(msgspec.Struct, frozen=True):
    """A frame of a kind that is not known here: to be ignored, as the event stream's rules say."""

    op: int
    kind: str | None


Message = CommitMessage | SyncMessage | IdentityMessage | AccountMessage | InfoMessage | ErrorMessage | UnknownMessage
