"""The log decides: whether an entry is accepted, given what the log holds of its account.

Pure. Used by derive, in shard order, and by a PDS on its own writes before it sends them. Does not own signatures and
inversion (`ingest.repo.verify`: what comes here is verified) nor what an accepted entry does (`ingest.derive`).

1. A commit is accepted if its rev is above the head's and its prevData equals the head's data.
2. The first commit of an account without a repo is accepted; where history before it is missing, as `partial`.
3. A #sync is accepted if its rev is above the head's, or if it says the head again; if it changes data, what it
   changed is unknown and the account is `partial` until a diff tells.
4. A diff is accepted whole, at its last chunk, if the head is the base it names.
5. A deleted account takes no repo entries until its owner brings it back; revs go on rising across that.
6. Identity, account and moderation entries are absolute statements: always accepted.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ingest.log import Head, Reason
from schemas.cid import Cid
from schemas.entries import Commit, Diff, Entry, Sync

# The MST of a repo without records: the DAG-CBOR of {"e": [], "l": null}.
EMPTY_ROOT = Cid.of_cbor(b"\xa2\x61\x65\x80\x61\x6c\xf6")


class Accept(msgspec.Struct, frozen=True):
    """The entry holds; `partial` is the account's mark after it."""

    partial: bool


class Reject(msgspec.Struct, frozen=True):
    reason: Reason
    detail: str


WHOLE = Accept(False)
PARTIAL = Accept(True)


def accept(head: Head | None, entry: Entry) -> Accept | Reject:
    """HOT: the verdict on `entry` over `head` (None: an account never heard of)."""
    if isinstance(entry, Commit):
        return _commit(head, entry)
    if isinstance(entry, Sync):
        return _sync(head, entry)
    if isinstance(entry, Diff):
        return _diff(head, entry)
    return PARTIAL if head is not None and head.partial else WHOLE


def _commit(head: Head | None, entry: Commit) -> Accept | Reject:
    if head is None:
        return WHOLE if _is_beginning(entry) else PARTIAL
    if head.status == "deleted":
        return _deleted(head)
    if head.rev is not None and entry.rev <= head.rev:
        return _not_above(head, entry)
    if head.data is None:
        return WHOLE if _is_beginning(entry) else PARTIAL
    if entry.prev_data != head.data:
        return Reject(
            Reason.PREV_DATA_MISMATCH,
            f"{entry.did} rev {entry.rev}: expected prevData {head.data} (rev {head.rev}), found {entry.prev_data}",
        )
    return PARTIAL if head.partial else WHOLE


def _is_beginning(entry: Commit) -> bool:
    """Whether nothing came before this commit, so that its operations are the whole repo."""
    from_nothing = entry.prev_data == EMPTY_ROOT or (entry.prev_data is None and entry.since is None)
    return from_nothing and all(op.action == "create" for op in entry.ops)


def _sync(head: Head | None, entry: Sync) -> Accept | Reject:
    if head is not None:
        if head.status == "deleted":
            return _deleted(head)
        if head.rev is not None and entry.rev <= head.rev and entry.commit != head.commit:
            return _not_above(head, entry)
        if entry.data == head.data:
            return PARTIAL if head.partial else WHOLE
        if head.data is not None:
            return PARTIAL
    return WHOLE if entry.data == EMPTY_ROOT else PARTIAL


def _diff(head: Head | None, entry: Diff) -> Accept | Reject:
    if not 0 <= entry.chunk < entry.chunks or (entry.chunk == 0) != (entry.first is None):
        return Reject(
            Reason.DIFF_MALFORMED,
            f"{entry.did}: chunk {entry.chunk} of {entry.chunks} with first={entry.first}; later chunks, "
            "and only they, name the offset of chunk 0",
        )
    if head is not None and head.status == "deleted":
        return _deleted(head)
    if entry.chunk < entry.chunks - 1:
        return PARTIAL if head is not None and head.partial else WHOLE
    rev, data = (None, None) if head is None else (head.rev, head.data)
    if entry.base_data != data or (data is not None and entry.base_rev != rev):
        return Reject(
            Reason.BASE_MOVED,
            f"{entry.did}: the diff's base is rev {entry.base_rev} data {entry.base_data}, the head is rev {rev} "
            f"data {data}: compute it again",
        )
    fills = entry.data == data and entry.rev == rev
    if rev is not None and entry.rev <= rev and not fills:
        return Reject(Reason.STALE_REV, f"{entry.did}: diff to rev {entry.rev}, the head is at {rev}")
    return WHOLE


def complete(last: Diff, found: Iterable[tuple[int, int, Diff]]) -> tuple[int, ...] | Reject:
    """The ids of a diff's chunks 0 .. n-1, of (id, offset, chunk) in shard order; a chunk sent twice counts once.

    `last` is the chunk that would complete it. Chunks of another attempt name another first chunk.
    """
    ids: list[int] = []
    first = last.first
    for at, offset, chunk in found:
        if (offset if chunk.chunk == 0 else chunk.first) != first and first is not None:
            continue
        if chunk.chunk == len(ids) and _names(chunk) == _names(last):
            ids.append(at)
    if len(ids) != last.chunks:
        return Reject(
            Reason.DIFF_INCOMPLETE,
            f"{last.did}: expected chunks 0 to {last.chunks - 1} from offset {first} on, found {len(ids)} in order",
        )
    return tuple(ids)


def _names(chunk: Diff) -> tuple[object, ...]:
    return (chunk.base_rev, chunk.base_data, chunk.rev, chunk.commit, chunk.data, chunk.chunks)


def _deleted(head: Head) -> Reject:
    return Reject(Reason.DELETED, f"{head.did} is deleted; an account entry must bring it back first")


def _not_above(head: Head, entry: Commit | Sync) -> Reject:
    if entry.commit == head.commit:
        return Reject(Reason.DUPLICATE, f"{entry.did} rev {entry.rev}: this commit is the head already")
    return Reject(Reason.STALE_REV, f"{entry.did}: rev {entry.rev} is not above the head's {head.rev}")
