"""What has been played of an archive, up to what is due: its events by number, and where each account stands.

Does not own when something is due (`pace.py`) nor who asks (`serve_archive.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from headrace.load.archive.blocks import Item, Kind
from headrace.load.archive.reader import Archive, hashes
from ingest.repo.car import read_car, require_root, write_car
from ingest.repo.commit import SignedCommit, decode_commit
from ingest.repo.frame import decode_frame
from ingest.repo.messages import CommitMessage, SyncMessage
from ingest.repo.mst import Tree
from ingest.repo.reasons import MissingBlock
from schemas.cid import Cid
from schemas.syntax import Did

IsDue = Callable[[int, int], bool]
"""Whether an event has been played, from its number and its recorded time."""


class Played:
    """Of an archive that does not grow. May be asked by several threads at once."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._indexes = [(path, archive.index(path)) for path in archive.segments()]
        blocks = [block for _, index in self._indexes for block in index.blocks]
        self.length = sum(block.held for block in blocks)
        """Items."""
        self.seqs = (0, 0)
        """Least and greatest seq."""
        self.span = 0
        """Microseconds from the first to the last."""
        if blocks:
            self.seqs = (min(block.first_seq for block in blocks), max(block.last_seq for block in blocks))
            self.span = max(block.last_time for block in blocks) - min(block.first_time for block in blocks)

    def items(self, after: int, dids: frozenset[int] | None = None) -> Iterator[tuple[int, Item]]:
        """What follows a seq (and is of certain accounts), with its number in the archive."""
        number = 0
        for path, index in self._indexes:
            chosen = None if dids is None else set(index.holding(dids))
            for block in index.blocks:
                if block.last_seq > after and (chosen is None or block in chosen):
                    for at, item in enumerate(self._archive.block(path, block)):
                        if item.seq > after and item.kind < Kind.LINE and (dids is None or item.did_key in dids):
                            yield number + at, item
                number += block.held

    def heads(self, is_due: IsDue) -> dict[str, tuple[str, str]]:
        """Commit and rev of every account, by DID."""
        heads: dict[str, tuple[str, str]] = {}
        for number, item in self.items(-1):
            if item.kind == Kind.COMMIT and is_due(number, item.time):
                message = decode_frame(item.data)
                if isinstance(message, CommitMessage):
                    heads[message.did] = (str(message.commit), message.rev)
        return heads

    def _frames(self, is_due: IsDue, did: Did) -> Iterator[CommitMessage | SyncMessage]:
        """What has been due of one account."""
        keys = hashes((did,))
        for number, item in self.items(-1, keys):
            if item.kind in (Kind.COMMIT, Kind.SYNC) and is_due(number, item.time):
                message = decode_frame(item.data)
                if isinstance(message, CommitMessage | SyncMessage) and message.did == did:
                    yield message

    def head(self, is_due: IsDue, did: Did) -> SignedCommit | None:
        """The last signed commit of an account."""
        last = None
        for message in self._frames(is_due, did):
            last = message
        if last is None:
            return None
        roots, blocks = read_car(last.blocks)
        return decode_commit(blocks[require_root(roots, blocks).raw])

    def repo(self, is_due: IsDue, did: Did) -> bytes | None:
        """Its repo, put together from its commits; MissingBlock when the archive does not begin with its first."""
        blocks: dict[bytes, bytes] = {}
        root: Cid | None = None
        for message in self._frames(is_due, did):
            roots, found = read_car(message.blocks)
            root = require_root(roots, found)
            blocks |= found
        if root is None:
            return None
        signed = decode_commit(blocks[root.raw])
        needed = {root.raw: blocks[root.raw]}

        def load(cid: bytes) -> bytes:
            needed[cid] = blocks[cid]
            return blocks[cid]

        for _, record in Tree.open(signed.data, load).walk():
            if record not in blocks:
                raise MissingBlock(record, f"record of {did}")
            needed[record] = blocks[record]
        return b"".join(write_car([root], needed))
