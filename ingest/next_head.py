"""An account's head after an accepted entry, without what else follows from it.

Pure; the same head that `ingest.derive` comes to (a test compares them), for who keeps heads and no index: a PDS in a
cluster. Does not own acceptance (`ingest.verdict`).
"""

from __future__ import annotations

import msgspec

from ingest.commit_block import find_commit_block
from ingest.derive import did_of
from ingest.log import Head
from schemas.entries import Account, Commit, Diff, Entry, Identity, Moderation, Sync


def next_head(head: Head | None, entry: Entry, *, partial: bool) -> Head | None:
    """HOT. None: the account is still one that was never heard of (it is said not to be taken down)."""
    if isinstance(entry, Moderation) and entry.subject.startswith("at://"):
        return head
    old = Head(did_of(entry)) if head is None else head
    match entry:
        case Commit():
            return _moved(old, entry, find_commit_block(entry.tail, entry.commit), partial=partial)
        case Sync():
            if entry.commit == old.commit:
                return old
            return _moved(old, entry, find_commit_block(entry.tail, entry.commit), partial=partial)
        case Diff():
            if entry.chunk < entry.chunks - 1:
                return head
            return _moved(old, entry, entry.commit_block, partial=False)
        case Identity():
            return msgspec.structs.replace(old, handle=entry.handle, verified_at=entry.time)
        case Account():
            if entry.status != "deleted":
                return msgspec.structs.replace(old, status=entry.status)
            return msgspec.structs.replace(
                old, status=entry.status, data=None, commit=None, commit_block=None, partial=False
            )
        case Moderation():
            if old.taken_down == (entry.takedown is not None):
                return head
            return msgspec.structs.replace(old, taken_down=not old.taken_down)


def _moved(old: Head, entry: Commit | Sync | Diff, block: bytes, *, partial: bool) -> Head:
    return msgspec.structs.replace(
        old, rev=entry.rev, data=entry.data, commit=entry.commit, commit_block=block, partial=partial
    )
