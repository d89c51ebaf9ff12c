"""An account that signs real commits, for tests that need frames of their own."""

from __future__ import annotations

from dataclasses import dataclass, field

from ingest.repo.car import car_bytes
from ingest.repo.commit import SignedCommit, UnsignedCommit
from ingest.repo.frame import commit_frame, decode_frame
from ingest.repo.keys import PrivateKey
from ingest.repo.messages import CommitMessage
from ingest.repo.mst import Tree
from ingest.repo.mst_proof import proof
from schemas import cbor
from schemas.cid import Cid
from schemas.entries import Op, cbor_uint
from schemas.syntax import Did
from schemas.tid import Tid, tid_from_micros

NOW = 1_760_000_000_000_000
DID = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
POST = "app.bsky.feed.post"


def record(text: str) -> bytes:
    return cbor.encode({"$type": POST, "text": text, "createdAt": "2026-01-01T00:00:00Z"})


def path(n: int) -> str:
    return f"{POST}/{tid_from_micros(NOW + n * 1_000_000, 7)}"


@dataclass
class Made:
    """A commit, with all that a test may want to bend before it is framed."""

    signed: SignedCommit
    ops: list[Op]
    blocks: dict[bytes, bytes]
    since: Tid | None
    prev_data: Cid | None

    def parts(self) -> tuple[bytes, bytes]:
        return commit_frame(
            did=self.signed.did,
            rev=self.signed.rev,
            since=self.since,
            commit=self.signed.cid,
            prev_data=self.prev_data,
            ops=self.ops,
            blocks=car_bytes(self.signed.cid, {self.signed.cid.raw: self.signed.block} | self.blocks),
            time="2026-01-01T00:00:00.000Z",
        )

    def frame(self, seq: int = 1) -> bytes:
        head, tail = self.parts()
        return head + cbor_uint(seq) + tail

    def message(self) -> CommitMessage:
        message = decode_frame(self.frame())
        assert isinstance(message, CommitMessage)
        return message


@dataclass
class Account:
    key: PrivateKey = field(default_factory=lambda: PrivateKey.from_bytes("k256", b"\x07" * 32))
    did: Did = DID
    clock: int = NOW
    rev: Tid | None = None
    data: Cid | None = None
    tree: Tree = field(default_factory=Tree.empty)
    records: dict[str, Cid] = field(default_factory=dict)
    blocks: dict[bytes, bytes] = field(default_factory=dict)

    def commit(self, writes: dict[str, bytes | None]) -> Made:
        """Write records (None deletes) as one commit."""
        ops, blocks = [], {}
        for key, value in writes.items():
            if value is None:
                ops.append(Op("delete", key, None, self.tree.delete(key)))
                del self.records[key]
                continue
            cid = Cid.of_cbor(value)
            blocks[cid.raw] = value
            prev = self.tree.put(key, cid)
            ops.append(Op("create" if prev is None else "update", key, cid, prev))
            self.records[key] = cid
        data, nodes = self.tree.write()
        blocks |= nodes | proof(self.tree, writes)
        self.clock += 1_000
        rev = tid_from_micros(self.clock, 3)
        made = Made(UnsignedCommit(self.did, rev, data).sign(self.key), ops, blocks, self.rev, self.data)
        self.rev, self.data = rev, data
        self.blocks |= blocks
        return made
