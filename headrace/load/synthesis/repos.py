"""The repos of some accounts, in which a plan's steps become signed commits and frames. Memory is bounded.

A repo that has not been written to for long is put into the spill and comes back when it is needed.
Does not own what is written (`plan.py`) nor the order of frames of different accounts (`pool.py`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import orjson

from headrace.load.archive.blocks import Item, Kind, did_key
from headrace.load.archive.items import document_item
from headrace.load.synthesis.accounts import Accounts, document, handle
from headrace.load.synthesis.spill import Spill
from headrace.load.synthesis.steps import Step, Write
from ingest.repo.car import car_bytes
from ingest.repo.commit import UnsignedCommit
from ingest.repo.frame_parts import account_frame, commit_frame, identity_frame
from ingest.repo.keys import PrivateKey
from ingest.repo.mst import Tree
from ingest.repo.mst_node import Node
from ingest.repo.mst_proof import proof
from schemas import cbor
from schemas.cid import Cid
from schemas.datetimes import from_micros
from schemas.entries import Op
from schemas.syntax import Did
from schemas.tid import Tid, tid_from_micros

RECORDS = 200_000  # in memory at once, some 1 kB each


class Made(NamedTuple):
    """One frame, to be numbered: `head + seq + tail`; or a document, whose `head` is the item's data."""

    time: int
    did_key: int
    kind: int
    head: bytes
    tail: bytes


class Repo:
    """One account's: its tree, and where it stands."""

    __slots__ = ("data", "did", "key", "records", "rev", "tree")

    def __init__(self, did: Did, key: PrivateKey) -> None:
        self.did = did
        self.key = key
        self.tree = Tree.empty()
        self.rev: Tid | None = None
        self.data: Cid | None = None
        self.records = 0

    def commit(self, time: int, writes: list[tuple[str, bytes | None]]) -> tuple[bytes, bytes]:
        """Head and tail of the #commit of writes to different paths; one of nothing that is there is left out. HOT."""
        tree, ops = self.tree, []
        blocks: dict[bytes, bytes] = {}
        for path, record in writes:
            if record is None:
                before = tree.remove(path.encode())
                if before is None:
                    continue
                self.records -= 1
                ops.append(Op("delete", path, None, Cid(before), None))
                continue
            cid = Cid.of_cbor(record)
            before = tree.insert(path.encode(), cid.raw)
            if before is None:
                self.records += 1
            ops.append(
                Op("create" if before is None else "update", path, cid, None if before is None else Cid(before), record)
            )
            blocks[cid.raw] = record
        data, nodes = tree.write()
        rev = tid_from_micros(time, 0)
        signed = UnsignedCommit(self.did, rev, data).sign(self.key)
        cid = signed.cid
        nodes = {**proof(tree, [op.path for op in ops]), **nodes}
        parts = commit_frame(
            did=self.did,
            rev=rev,
            since=self.rev,
            commit=cid,
            prev_data=self.data,
            ops=ops,
            blocks=car_bytes(cid, {cid.raw: signed.block, **nodes, **blocks}),
            time=from_micros(time),
        )
        self.rev, self.data = rev, data
        return parts

    def blocks(self) -> dict[bytes, bytes]:
        """Every node of its tree."""
        out: dict[bytes, bytes] = {}
        left: list[tuple[Node | bytes | None, int | None]] = [(self.tree.top, None)]
        while left:
            node, height = left.pop()
            if isinstance(node, bytes):
                node = self.tree.read(node, height)
            if node is not None and node.cid is not None:
                out[node.cid] = node.data
                left += [(kid, node.height - 1) for kid in node.kids]
        return out


class Repos:
    """Those of the accounts that `mine` says are."""

    def __init__(
        self,
        accounts: Accounts,
        dids: list[Did],
        *,
        mine: Callable[[int], bool] = lambda _: True,
        room: int = RECORDS,
    ) -> None:
        self._accounts = accounts
        self._dids = dids
        self._spill = Spill()
        self._mine = mine
        self._room = room
        self._held = 0
        self._live: OrderedDict[int, Repo] = OrderedDict()
        self._away: dict[int, tuple[Tid, Cid, int]] = {}

    def take(self, step: Step) -> list[Made] | None:
        """What becomes of a step, in order: documents, then frames; None when it is another's."""
        return list(self._made(step)) if self._mine(step.account) else None

    def _made(self, step: Step) -> Iterator[Made]:
        number, time = step.account, step.time
        did = self._dids[number]
        key, said = did_key(did), from_micros(time)
        if step.found or step.renamed is not None:
            renamed = step.renamed or 0
            operation = self._accounts.operation(number, renamed)
            yield _document(document_item(did, document(did, operation), time))
            yield _document(Item(time, 0, key, Kind.OPERATION, orjson.dumps(operation.json)))
            yield Made(time, key, Kind.IDENTITY, *identity_frame(did=did, time=said, handle=handle(number, renamed)))
        if step.found or step.status is not None:
            active = step.status in (None, "active")
            status = None if active else step.status
            yield Made(time, key, Kind.ACCOUNT, *account_frame(did=did, time=said, active=active, status=status))
            if step.status == "deleted":
                self._forget(number)
        if step.writes:
            yield Made(time, key, Kind.COMMIT, *self.commit(number, time, step.writes))

    def commit(self, number: int, time: int, writes: Sequence[Write]) -> tuple[bytes, bytes]:
        """Head and tail of the commit of writes by one account."""
        repo = self.repo(number)
        before = repo.records
        encoded = [(path, cbor.encode(value) if isinstance(value, dict) else value) for path, value in writes]
        parts = repo.commit(time, encoded)
        self._held += repo.records - before
        while self._held > self._room and len(self._live) > 1:
            self._put_away()
        return parts

    def repo(self, number: int) -> Repo:
        """An account's repo as it stands, until the next one is asked for."""
        repo = self._live.get(number)
        if repo is None:
            repo = self._live[number] = Repo(self._dids[number], self._accounts.key(number))
            known = self._away.pop(number, None)
            if known is not None:
                repo.rev, repo.data, repo.records = known
                repo.tree = Tree.open(repo.data, _unpacked(self._spill.take(number)).__getitem__)
                self._held += repo.records
        self._live.move_to_end(number)
        return repo

    def _put_away(self) -> None:
        number, repo = self._live.popitem(last=False)
        self._held -= repo.records
        assert repo.rev is not None
        assert repo.data is not None
        blocks = repo.blocks().items()
        self._spill.put(number, b"".join(len(data).to_bytes(4, "little") + cid + data for cid, data in blocks))
        self._away[number] = (repo.rev, repo.data, repo.records)

    def _forget(self, number: int) -> None:
        repo = self._live.pop(number, None)
        if repo is not None:
            self._held -= repo.records
        elif self._away.pop(number, None) is not None:
            self._spill.take(number)


def _document(item: Item) -> Made:
    return Made(item.time, item.did_key, item.kind, item.data, b"")


def _unpacked(data: bytes) -> dict[bytes, bytes]:
    blocks, at = {}, 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        blocks[data[at + 4 : at + 40]] = data[at + 40 : at + 40 + size]
        at += 40 + size
    return blocks
