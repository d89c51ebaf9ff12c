"""From prepared writes to one signed commit, as the log and the firehose want it. Pure: the head is only read.

Does not own whether the account may write (writer.py) nor what happens to the commit afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ingest.pds.account_file import Root, Stored
from ingest.pds.blob_refs import Ref, refs_of
from ingest.pds.head import Head
from ingest.pds.refusals import invalid_request, invalid_swap
from ingest.pds.writes import Prepared, Unset
from ingest.repo.car import car_bytes
from ingest.repo.commit import SignedCommit, UnsignedCommit
from ingest.repo.frame_parts import commit_frame, sync_frame
from ingest.repo.keys import PrivateKey
from ingest.repo.mst import Tree
from ingest.repo.mst_proof import proof
from schemas.cid import Cid
from schemas.entries import Commit, Op, Sync
from schemas.errors import Refused, XrpcError
from schemas.limits import COMMIT_BLOCKS_MAX
from schemas.syntax import Did
from schemas.tid import Tid


class Built(msgspec.Struct, frozen=True):
    """`entry` goes to the log; the rest is what the head absorbs once the log has it. `tree` is None for no change."""

    entry: Commit
    tree: Tree
    signed: SignedCommit
    cid: Cid
    nodes: dict[bytes, bytes]
    records: dict[str, Stored | None]
    refs_added: set[Ref]
    refs_removed: set[Ref]


def build(
    head: Head,
    key: PrivateKey,
    rev: Tid,
    prepared: Sequence[Prepared],
    time: str,
) -> Built | None:
    """HOT. None when nothing would change (a put of the same record, a delete of an absent one).

    Raises XrpcError InvalidRequest or InvalidSwap.
    """
    tree = head.tree.fork()
    ops: list[Op] = []
    blocks: dict[bytes, bytes] = {}
    records: dict[str, Stored | None] = {}
    refs_added: set[Ref] = set()
    refs_removed: set[Ref] = set()
    for write in prepared:
        path, cid, record = write.path, write.cid, write.record
        if path in records:
            raise invalid_request(f"two writes of one commit name {path}: send them one after the other")
        before = _change(tree, write)
        if not isinstance(write.swap, Unset):
            _check_swap(write, before)
        if cid is None:
            if before is None:
                if write.if_absent_ok:
                    continue
                raise invalid_request(f"Could not find record: {path}")
            ops.append(Op("delete", path, None, before, None))
            records[path] = None
        else:
            assert record is not None
            if before is None:
                if write.action == "update":
                    raise invalid_request(f"Could not find record: {path}")
                ops.append(Op("create", path, cid, None, record))
            elif write.action == "create":
                raise invalid_request(f"Record already exists: {path}")
            elif before == cid and write.action == "put":
                continue
            else:
                ops.append(Op("update", path, cid, before, record))
            blocks[cid.raw] = record
            records[path] = Stored(cid, rev, record)
            refs_added.update((blob.cid.raw, path) for blob in write.blobs)
        if before is not None:
            old = head.record(path)
            if old is not None:
                refs_removed |= refs_of(path, old.value)
    if not ops:
        return None
    data, nodes = tree.write()
    signed = UnsignedCommit(head.did, rev, data).sign(key)
    root = head.root
    prev_data = None if root is None else root.data
    since = None if root is None else root.rev
    commit = signed.cid
    car = car_bytes(commit, {commit.raw: signed.block, **proof(tree, records), **nodes, **blocks})
    if len(car) > COMMIT_BLOCKS_MAX:
        raise XrpcError(
            "InvalidRequest", f"the commit has more than {COMMIT_BLOCKS_MAX} bytes: make smaller ones of fewer writes"
        )
    frame_head, frame_tail = commit_frame(
        did=head.did, rev=rev, since=since, commit=commit, prev_data=prev_data, ops=ops, blocks=car, time=time
    )
    entry = Commit(head.did, rev, since, commit, data, prev_data, tuple(ops), frame_head, frame_tail)
    return Built(entry, tree, signed, commit, nodes, records, refs_added, refs_removed - refs_added)


def first_commit(did: Did, key: PrivateKey, rev: Tid, time: str) -> tuple[Commit, SignedCommit]:
    """The commit of a new repo without records."""
    data, nodes = Tree.empty().write()
    signed = UnsignedCommit(did, rev, data).sign(key)
    car = car_bytes(signed.cid, {signed.cid.raw: signed.block, **nodes})
    head, tail = commit_frame(
        did=did, rev=rev, since=None, commit=signed.cid, prev_data=None, ops=(), blocks=car, time=time
    )
    return Commit(did, rev, None, signed.cid, data, None, (), head, tail), signed


def sync_entry(did: Did, root: Root, time: str) -> Sync:
    """A #sync that says where a repo stands."""
    head, tail = sync_frame(did=did, rev=root.rev, blocks=car_bytes(root.cid, {root.cid.raw: root.block}), time=time)
    return Sync(did, root.rev, root.cid, root.data, head, tail)


def _change(tree: Tree, write: Prepared) -> Cid | None:
    try:
        return tree.delete(write.path) if write.cid is None else tree.put(write.path, write.cid)
    except Refused as refused:
        raise invalid_request(refused.detail) from refused


def _check_swap(write: Prepared, before: Cid | None) -> None:
    swap = write.swap
    if swap != before:
        raise invalid_swap("Record", before)
