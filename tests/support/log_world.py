"""Repos for tests of the log: entries that chain as verified ones do, with frames of real size. No signatures."""

from __future__ import annotations

import random
from hashlib import sha256

from ingest.verdict import EMPTY_ROOT
from schemas.cbor import encode
from schemas.cid import Cid
from schemas.entries import Commit, Diff, Op, Sync
from schemas.syntax import Did
from schemas.tid import Tid, tid_from_micros

START = 1_700_000_000_000_000


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return out + bytes((value,))


def section(cid: Cid, data: bytes) -> bytes:
    return varint(len(cid.raw) + len(data)) + cid.raw + data


def did(number: int) -> Did:
    return Did(f"did:plc:{number:0>24}")


def record_of(text: str) -> bytes:
    return encode({"$type": "app.bsky.feed.post", "text": text, "createdAt": "2024-01-01T00:00:00.000Z"})


class Repo:
    """One account's repo as its host has it: a plain dict, and the entries that change it."""

    def __init__(self, number: int, seed: int = 0, filler: int = 0) -> None:
        self.did = did(number)
        self.random = random.Random(number << 32 | seed)
        self.records: dict[str, bytes] = {}
        self.clock = START
        self.rev: Tid | None = None
        self.data: Cid | None = None
        self.commit: Cid | None = None
        self.filler = filler

    def next_rev(self) -> Tid:
        self.clock += 1000
        return tid_from_micros(self.clock, 7)

    def _signed(self, rev: Tid, data: Cid) -> tuple[Cid, bytes]:
        sig = self.random.randbytes(64)
        block = encode({"did": str(self.did), "rev": str(rev), "sig": sig, "data": data, "prev": None, "version": 3})
        return Cid.of_cbor(block), block

    def _data(self) -> Cid:
        if not self.records:
            return EMPTY_ROOT
        return Cid.of_cbor(sha256(repr(sorted(self.records.items())).encode()).digest())

    def op(self, path: str, value: bytes | None) -> Op:
        """Change the dict and say how."""
        old = self.records.get(path)
        prev = None if old is None else Cid.of_cbor(old)
        if value is None:
            del self.records[path]
            return Op("delete", path, None, prev, None)
        self.records[path] = value
        return Op("create" if old is None else "update", path, Cid.of_cbor(value), prev, value)

    def commit_entry(self, *ops: Op, data: Cid | None = None) -> Commit:
        """The commit of operations made by `op`; the repo stands at it."""
        rev = self.next_rev()
        data = data or self._data()
        cid, block = self._signed(rev, data)
        blocks = section(cid, block) + b"".join(section(op.cid, op.record) for op in ops if op.cid and op.record)
        root = b"\xd8\x2a\x58\x25\x00" + cid.raw
        tail = b"time" + root + b"blocks" + root + blocks + self.random.randbytes(self.filler)
        entry = Commit(self.did, rev, self.rev, cid, data, self.data, ops, b"head of a #commit, seq", tail)
        self.rev, self.data, self.commit = rev, data, cid
        return entry

    def write(self, path: str, value: bytes | None) -> Commit:
        return self.commit_entry(self.op(path, value))

    def sync_entry(self) -> Sync:
        """A #sync that says a state the log may not know."""
        rev, data = self.next_rev(), self._data()
        cid, block = self._signed(rev, data)
        self.rev, self.data, self.commit = rev, data, cid
        return Sync(self.did, rev, cid, data, b"head of a #sync, seq", b"time" + section(cid, block))

    def diff_entries(
        self,
        ops: list[Op],
        chunk: int,
        base: tuple[Tid | None, Cid | None] | None = None,
        *,
        told: bool = False,
    ) -> list[Diff]:
        """The diff from where the log stands (`base`; the repo's last commit if None) in chunks of `chunk` ops."""
        base_rev, base_data = base or (self.rev, self.data)
        rev, data = self.next_rev(), self._data()
        cid, block = self._signed(rev, data)
        parts = [tuple(ops[i : i + chunk]) for i in range(0, len(ops), chunk)] or [()]
        self.rev, self.data, self.commit = rev, data, cid
        return [
            Diff(self.did, base_rev, base_data, rev, cid, block, data, i, len(parts), None, part, told=told)
            for i, part in enumerate(parts)
        ]
