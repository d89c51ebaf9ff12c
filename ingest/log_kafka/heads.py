"""Heads of accounts as messages of `records` say them, and as a file keeps them.

For who keeps heads without derive's places beside them: a PDS of its own accounts, a relay of all. Pure. Does not own
the messages' bytes (`schemas.records_codec`) nor the files.
"""

from __future__ import annotations

import msgspec

from ingest.log import Head
from schemas.cid import Cid
from schemas.entries import AccountEntry, HeadEntry
from schemas.records_codec import AccountState, Content, HeadGone, StateOnly
from schemas.syntax import Did, Handle
from schemas.tid import Tid


def learn(heads: dict[Did, Head], content: Content, state: AccountState | None) -> None:
    """HOT: take in what a message of `records` says of an account's head; they come in order."""
    if not isinstance(content, HeadEntry | HeadGone | AccountEntry | StateOnly):
        return
    old = heads.get(content.did) or Head(content.did)
    if isinstance(content, HeadEntry):
        assert state is not None
        new = msgspec.structs.replace(
            old,
            rev=content.rev,
            data=content.data,
            commit=content.commit,
            commit_block=content.commit_block,
            partial=state.partial,
        )
    elif isinstance(content, HeadGone):
        new = msgspec.structs.replace(old, data=None, commit=None, commit_block=None, partial=False)
    else:
        state = content.state if isinstance(content, StateOnly) else state
        assert state is not None
        rev = max((rev for rev in (old.rev, state.rev) if rev is not None), default=None)
        new = msgspec.structs.replace(old, status=state.status, taken_down=state.taken_down, rev=rev)
        if isinstance(content, AccountEntry):
            new = msgspec.structs.replace(new, handle=content.handle, verified_at=content.verified_at)
    heads[content.did] = new


def encode_head(head: Head | None) -> bytes:
    """Nothing for an account of which the log holds nothing."""
    if head is None:
        return b""
    h = head
    return msgspec.msgpack.encode(
        (
            *(h.rev and str(h.rev), h.data and h.data.raw, h.commit and h.commit.raw, h.commit_block, h.status),
            *(h.handle and str(h.handle), h.partial, h.taken_down, h.verified_at),
        )
    )


def decode_head(did: str, data: bytes) -> Head | None:
    if not data:
        return None
    rev, root, commit, block, status, handle, partial, taken_down, verified_at = msgspec.msgpack.decode(data)
    return Head(
        *(Did(did), rev and Tid(rev), root and Cid(root), commit and Cid(commit), block, status),
        *(handle and Handle(handle), partial, taken_down, verified_at),
    )
