"""Frames of subscribeRepos as they are written: everything before `seq`, and everything after.

A frame is `head + cbor_uint(seq) + tail` (schemas.entries.cbor_uint): DAG-CBOR orders keys by length, then bytes, which
puts seq behind ops and rev. The log numbers a frame after it was made, so the two halves are what is stored.
Source: https://atproto.com/specs/event-stream, lexicon com.atproto.sync.subscribeRepos.
Does not own reading frames (`ingest.repo.frame`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ingest.repo.wire import head, link, text
from schemas import cbor
from schemas.cid import Cid
from schemas.entries import Op

COMMIT_HEADER = b"\xa2atg#commitbop\x01"
_SYNC_HEADER = b"\xa2ate#syncbop\x01"
_IDENTITY_HEADER = b"\xa2ati#identitybop\x01"
_ACCOUNT_HEADER = b"\xa2ath#accountbop\x01"

Parts = tuple[bytes, bytes]
"""What stands before seq and what stands after it."""


def commit_frame(
    *,
    did: str,
    rev: str,
    since: str | None,
    commit: Cid,
    prev_data: Cid | None,
    ops: Sequence[Op],
    blocks: bytes,
    time: str,
    blobs: Iterable[Cid] = (),
) -> Parts:
    """A #commit; `blocks` is a CAR of the signed commit (its root), new nodes, proofs and records. HOT."""
    return commit_parts(
        [
            (op.action, op.path, None if op.cid is None else op.cid.raw, None if op.prev is None else op.prev.raw)
            for op in ops
        ],
        rev,
        did,
        time,
        [blob.raw for blob in blobs],
        since,
        blocks,
        commit.raw,
        None if prev_data is None else prev_data.raw,
    )


def commit_parts(  # noqa: PLR0917 - in the order of the wire
    ops: Sequence[tuple[str, str, bytes | None, bytes | None]],
    rev: str,
    did: str,
    time: str,
    blobs: Sequence[bytes],
    since: str | None,
    blocks: bytes,
    commit: bytes,
    prev_data: bytes | None,
    rebase: bool = False,  # noqa: FBT001, FBT002
    too_big: bool = False,  # noqa: FBT001, FBT002
) -> Parts:
    """`commit_frame` on binary CIDs; an op is (action, path, cid, prev), and prev is left out when None."""
    front = [COMMIT_HEADER, b"\xabcops" if prev_data is None else b"\xaccops", head(0x80, len(ops))]
    for action, path, cid, prev in ops:
        front += (
            b"\xa3ccid" if prev is None else b"\xa4ccid",
            b"\xf6" if cid is None else link(cid),
            b"dpath",
            text(path),
            b"" if prev is None else b"dprev" + link(prev),
            b"faction",
            text(action),
        )
    front += (b"crev", text(rev), b"cseq")
    back = [b"drepo", text(did), b"dtime", text(time), b"eblobs", head(0x80, len(blobs))]
    back += map(link, blobs)
    back += (
        b"esince",
        b"\xf6" if since is None else text(since),
        b"fblocks",
        head(0x40, len(blocks)),
        blocks,
        b"fcommit",
        link(commit),
        b"frebase\xf5" if rebase else b"frebase\xf4",
        b"ftooBig\xf5" if too_big else b"ftooBig\xf4",
        b"" if prev_data is None else b"hprevData" + link(prev_data),
    )
    return b"".join(front), b"".join(back)


def sync_frame(*, did: str, rev: str, blocks: bytes, time: str) -> Parts:
    """A #sync; `blocks` is a CAR of the signed commit alone."""
    back = (b"dtime", text(time), b"fblocks", head(0x40, len(blocks)), blocks)
    return b"".join((_SYNC_HEADER, b"\xa5cdid", text(did), b"crev", text(rev), b"cseq")), b"".join(back)


def identity_frame(*, did: str, time: str, handle: str | None) -> Parts:
    """A #identity."""
    front = b"".join((_IDENTITY_HEADER, b"\xa3cdid" if handle is None else b"\xa4cdid", text(did), b"cseq"))
    return front, b"dtime" + text(time) + (b"" if handle is None else b"fhandle" + text(handle))


def account_frame(*, did: str, time: str, active: bool, status: str | None) -> Parts:
    """A #account; `status` says why an account is not active."""
    front = b"".join((_ACCOUNT_HEADER, b"\xa4cdid" if status is None else b"\xa5cdid", text(did), b"cseq"))
    back = b"dtime" + text(time) + (b"factive\xf5" if active else b"factive\xf4")
    return front, back + (b"" if status is None else b"fstatus" + text(status))


def info_frame(name: str, message: str | None = None) -> bytes:
    """A whole #info, which has no seq."""
    return cbor.encode({"op": 1, "t": "#info"}) + cbor.encode(_with_message({"name": name}, message))


def error_frame(error: str, message: str | None = None) -> bytes:
    """A whole error frame."""
    return cbor.encode({"op": -1}) + cbor.encode(_with_message({"error": error}, message))


def _with_message(payload: dict[str, str], message: str | None) -> dict[str, str]:
    return payload if message is None else {**payload, "message": message}
