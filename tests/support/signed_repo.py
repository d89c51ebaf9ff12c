"""A repo as its owner's server has it: a real tree, signed commits with proofs, and the log's entries they become."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.repo.car import car_bytes
from ingest.repo.commit import SignedCommit, UnsignedCommit
from ingest.repo.frame_parts import commit_frame
from ingest.repo.keys import PrivateKey
from ingest.repo.mst import Tree
from ingest.repo.mst_proof import proof
from schemas.cid import Cid
from schemas.entries import Commit, Diff, Op
from schemas.syntax import Did
from schemas.tid import Tid, tid_from_micros

Change = tuple[str, bytes | None]
"""A path and the record it is to hold: None takes it away."""


class SignedRepo:
    """`records` is what the tree holds; `clock` (unix microseconds) gives revs and rises by itself."""

    def __init__(self, did: str, clock: int, number: int = 1) -> None:
        self.did = Did(did)
        self.key = PrivateKey.from_bytes("k256", number.to_bytes(32, "big"))
        self.clock = clock
        self.records: dict[str, bytes] = {}
        self.begin()

    def begin(self) -> None:
        """An empty repo of the same key: what an account has that comes back after its deletion. Revs go on rising."""
        self.blocks: dict[bytes, bytes] = {}
        self.tree = Tree.empty(self.blocks.__getitem__)
        self.records.clear()
        self.rev: Tid | None = None
        self.data: Cid | None = None

    def commit(self, *changes: Change) -> Commit:
        """The commit of changes to different paths; the repo stands at it."""
        ops = self._change(changes)
        data, nodes = self.tree.write()
        rev, signed = self._sign(data)
        blocks = {signed.cid.raw: signed.block, **proof(self.tree, [op.path for op in ops]), **nodes}
        blocks |= {op.cid.raw: op.record for op in ops if op.cid is not None and op.record is not None}
        head, tail = commit_frame(
            did=self.did,
            rev=rev,
            since=self.rev,
            commit=signed.cid,
            prev_data=self.data,
            ops=ops,
            blocks=car_bytes(signed.cid, blocks),
            time="2026-01-01T00:00:00.000Z",
        )
        entry = Commit(self.did, rev, self.rev, signed.cid, data, self.data, ops, head, tail)
        self._stand_at(rev, data, nodes)
        return entry

    def diff(self, changes: Sequence[Change], chunk: int) -> list[Diff]:
        """The same changes as a resync would bring them: chunks of `chunk` operations."""
        ops = self._change(changes)
        data, nodes = self.tree.write()
        rev, signed = self._sign(data)
        parts = [ops[at : at + chunk] for at in range(0, len(ops), chunk)] or [()]
        base_rev, base_data = self.rev, self.data
        self._stand_at(rev, data, nodes)
        return [
            Diff(self.did, base_rev, base_data, rev, signed.cid, signed.block, data, n, len(parts), None, part)
            for n, part in enumerate(parts)
        ]

    def _change(self, changes: Sequence[Change]) -> tuple[Op, ...]:
        ops = []
        for path, record in changes:
            old = self.records.get(path)
            prev = None if old is None else Cid.of_cbor(old)
            if record is None:
                del self.records[path]
                self.tree.delete(path)
                ops.append(Op("delete", path, None, prev, None))
            else:
                cid = Cid.of_cbor(record)
                self.records[path] = record
                self.tree.put(path, cid)
                ops.append(Op("create" if old is None else "update", path, cid, prev, record))
        return tuple(ops)

    def _sign(self, data: Cid) -> tuple[Tid, SignedCommit]:
        self.clock += 1000
        rev = tid_from_micros(self.clock, 7)
        return rev, UnsignedCommit(self.did, rev, data).sign(self.key)

    def _stand_at(self, rev: Tid, data: Cid, nodes: dict[bytes, bytes]) -> None:
        self.blocks |= nodes
        self.rev, self.data = rev, data
