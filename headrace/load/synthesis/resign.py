"""A recorded archive under new identities: the same deeds in the same order, with keys that are ours.

Each account gets a new DID, key and repo, which begins empty: an update or delete of a record from before the recording
becomes a creation or nothing. DIDs within records are exchanged, and so are the CIDs of records that were rewritten
here and are still remembered. Does not own identities (`accounts.py`) nor repos (`repos.py`).
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from typing import Any, NamedTuple

import orjson

from headrace.load.archive.blocks import Item, Kind, did_key
from headrace.load.archive.items import document_item, frame_item
from headrace.load.archive.reader import Archive
from headrace.load.archive.writer import ArchiveWriter
from headrace.load.synthesis.accounts import Accounts, document, handle
from headrace.load.synthesis.repos import Repos
from headrace.load.synthesis.steps import Write
from ingest.repo.car import read_car
from ingest.repo.frame_parts import account_frame, identity_frame
from ingest.repo.messages import AccountMessage, CommitMessage, IdentityMessage
from schemas import cbor
from schemas.cid import Cid
from schemas.datetimes import from_micros
from schemas.entries import cbor_uint
from schemas.errors import Refused
from schemas.syntax import Did

_CIDS = 1_000_000  # rewritten records that are remembered, some 250 B each
_URI = re.compile(r"at://(did:[a-z]+:[^/]+)(/.*)?", re.DOTALL).fullmatch


class Resigned(NamedTuple):
    """What was written, and what was left out by why."""

    frames: dict[str, int]
    accounts: int
    left_out: dict[str, int]


def resign(archive: Archive, writer: ArchiveWriter, seed: int) -> Resigned:
    """Copy all of an archive, signed again, into another."""
    work = _Resigner(writer, seed)
    for item in archive.items():  # first of all who there is: records name accounts that come later
        work.meet(item)
    for item in archive.items():
        work.take(item)
    return Resigned(dict(sorted(work.frames.items())), work.accounts, dict(sorted(work.left_out.items())))


class _Resigner:
    def __init__(self, writer: ArchiveWriter, seed: int) -> None:
        self.accounts = 0
        self.frames: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self._writer = writer
        self._accounts = Accounts(seed)
        self._numbers: dict[str, int] = {}
        self._dids: dict[str, Did] = {}
        self._ordered: list[Did] = []
        self._repos = Repos(self._accounts, self._ordered)
        self._founded: set[str] = set()
        self._cids: OrderedDict[str, str] = OrderedDict()
        self._seq = 0

    def meet(self, item: Item) -> None:
        message = frame_item(item.data, item.time)[1]
        if message is not None and message.did not in self._dids:
            number = self._numbers[message.did] = len(self._numbers)
            self._dids[message.did] = did = self._accounts.did(number)
            self._ordered.append(did)

    def take(self, item: Item) -> None:
        _, message = frame_item(item.data, item.time)
        match message:
            case CommitMessage():
                self._commit(message, item.time)
            case IdentityMessage(did=did):
                self._identity(did, item.time)
            case AccountMessage(did=did, active=active, status=status):
                self._found(did, item.time)
                at = from_micros(item.time)
                frame = account_frame(did=self._dids[did], time=at, active=active, status=status)
                self._write(item.time, self._dids[did], Kind.ACCOUNT, frame)
            case _:
                self.left_out["not a commit, identity or account"] += 1

    def _identity(self, did: str, time: int) -> None:
        self._found(did, time)
        frame = identity_frame(did=self._dids[did], time=from_micros(time), handle=handle(self._numbers[did]))
        self._write(time, self._dids[did], Kind.IDENTITY, frame)

    def _commit(self, message: CommitMessage, time: int) -> None:
        self._found(message.did, time)
        number = self._numbers[message.did]
        repo = self._repos.repo(number)
        try:
            blocks = read_car(message.blocks)[1]
            writes = [(op.path, None if op.cid is None else self._record(op.cid, blocks)) for op in message.ops]
        except (Refused, KeyError):
            self.left_out["unreadable commit"] += 1
            return
        there = repo.tree.find
        wanted = [Write(path, record) for path, record in writes if record is not None or there(path.encode())]
        if not wanted:
            self.left_out["deletes of what was there before"] += 1
            return
        at = message.rev.micros if repo.rev is None else max(message.rev.micros, repo.rev.micros + 1)
        self._write(time, repo.did, Kind.COMMIT, self._repos.commit(number, at, wanted))

    def _found(self, did: str, time: int) -> None:
        """Say who an account is when it comes up first."""
        if did in self._founded:
            return
        self._founded.add(did)
        self.accounts += 1
        genesis = self._accounts.genesis(self._numbers[did])
        self._writer.document(document_item(genesis.did, document(genesis.did, genesis), time))
        self._writer.document(Item(time, 0, did_key(genesis.did), Kind.OPERATION, orjson.dumps(genesis.json)))

    def _record(self, cid: Cid, blocks: dict[bytes, bytes]) -> bytes:
        record = blocks[cid.raw]
        try:
            new = cbor.encode(self._exchanged(cbor.decode(record)))
        except Refused:
            new = record  # any bytes may be a record
        if new != record:
            self._cids[str(cid)] = str(Cid.of_cbor(new))
            if len(self._cids) > _CIDS:
                self._cids.popitem(last=False)
        return new

    def _exchanged(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._exchanged(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._exchanged(each) for each in value]
        if isinstance(value, str):
            return self._text(value)
        return value

    def _text(self, text: str) -> str:
        if text.startswith("did:"):
            return self._dids.get(text, text)
        if text.startswith("at://"):
            uri = _URI(text)
            return text if uri is None or uri[1] not in self._dids else f"at://{self._dids[uri[1]]}{uri[2] or ''}"
        return self._cids.get(text, text) if text.startswith("bafy") else text

    def _write(self, time: int, did: str, kind: Kind, parts: tuple[bytes, bytes]) -> None:
        self._seq += 1
        head, tail = parts
        self._writer.frame(Item(time, self._seq, did_key(did), kind, head + cbor_uint(self._seq) + tail))
        self.frames[kind.name.lower()] += 1
