"""An account's repo as it stands in the log, in memory: the tree, the signed commit, and what its file lacks.

The overlay is what is durable in the log and not yet in the file; readers see both and nothing in flight. All
methods are synchronous, so that a reader never sees half a commit. Does not own the order of writes (writer.py, under
`lock`) nor when a head is loaded, flushed or dropped (heads.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from ingest.pds.account_file import AccountFile, Flush, Root, Stored
from ingest.pds.account_files import AccountFiles
from ingest.pds.blob_refs import Ref
from ingest.pds.refusals import repo_not_found
from ingest.repo.mst import Tree
from ingest.repo.mst_diff import mst_diff
from ingest.repo.mst_node import EMPTY
from schemas import crash
from schemas.cid import Cid
from schemas.syntax import Did

EMPTY_ROOT = Cid.of_cbor(EMPTY)
_MISSING = object()


class Overlay:
    """What the next flush writes. `first` is the log offset of its oldest commit."""

    __slots__ = ("first", "nodes", "records", "refs_added", "refs_removed")

    def __init__(self, first: int) -> None:
        self.first = first
        self.nodes: dict[bytes, bytes] = {}
        self.records: dict[str, Stored | None] = {}
        self.refs_added: set[Ref] = set()
        self.refs_removed: set[Ref] = set()


class Head:
    """`root` is None while the account has no repo here (a migration that has not imported it yet)."""

    __slots__ = ("_files", "closed", "did", "dropped_blobs", "flushed", "gone", "lock", "overlay", "root", "tree")

    def __init__(self, did: Did, files: AccountFiles) -> None:
        self.did = did
        self.lock = asyncio.Lock()
        self.closed = False
        self.gone = False
        self.overlay: Overlay | None = None
        self.dropped_blobs: set[Cid] = set()
        """Blobs that a record stopped referring to since the last flush: the collector is to look at them."""
        self._files = files
        self.root = root = self.file.root()
        self.tree = Tree.empty(self.load) if root is None else Tree.open(root.data, self.load)
        self.tree.write()
        self.flushed = self.tree.fork()

    @property
    def file(self) -> AccountFile:
        """Raises XrpcError RepoNotFound once the account is deleted: whoever waited meanwhile must not make it anew."""
        if self.gone:
            raise repo_not_found(self.did)
        return self._files.open(self.did)

    def forget(self) -> None:
        """The account is deleted: nothing of it is kept or written any more."""
        self.closed = self.gone = True
        self.overlay = None
        self.dropped_blobs.clear()

    @property
    def idle(self) -> bool:
        return self.overlay is None and not self.lock.locked()

    def load(self, cid: bytes) -> bytes:
        """A node's block, for the tree. Raises KeyError."""
        overlay = self.overlay
        if overlay is not None:
            block = overlay.nodes.get(cid)
            if block is not None:
                return block
        return EMPTY if cid == EMPTY_ROOT.raw else self.file.node(cid)

    def record(self, path: str) -> Stored | None:
        overlay = self.overlay
        if overlay is not None:
            found = overlay.records.get(path, _MISSING)
            if found is not _MISSING:
                return found  # type: ignore[return-value]
        return self.file.record(path)

    def refers_to(self, cid: Cid) -> bool:
        """Whether any record refers to a blob."""
        raw, overlay = cid.raw, self.overlay
        if overlay is None:
            return bool(self.file.refers_to(raw))
        if any(ref[0] == raw for ref in overlay.refs_added):
            return True
        return any((raw, path) not in overlay.refs_removed for path in self.file.refers_to(raw))

    def absorb(
        self,
        *,
        tree: Tree,
        root: Root,
        nodes: Mapping[bytes, bytes],
        records: Mapping[str, Stored | None],
        refs_added: Iterable[Ref],
        refs_removed: Iterable[Ref],
    ) -> None:
        """Take in a commit that is durable in the log. HOT."""
        overlay = self.overlay
        if overlay is None:
            overlay = self.overlay = Overlay(root.offset)
        overlay.nodes.update(nodes)
        overlay.records.update(records)
        for ref in refs_removed:
            overlay.refs_added.discard(ref)
            overlay.refs_removed.add(ref)
            self.dropped_blobs.add(Cid(ref[0]))
        for ref in refs_added:
            overlay.refs_removed.discard(ref)
            overlay.refs_added.add(ref)
        self.tree = tree
        self.root = root

    def flush(self, nodes_kept: int) -> None:
        """Bring the file up to the head; superseded nodes are never written. HOT."""
        overlay, root = self.overlay, self.root
        if overlay is None or root is None:
            return
        crash.point("pds.before_flush")
        changed = mst_diff(self.flushed, self.tree)
        blocks = overlay.nodes
        new = {cid: blocks[cid] for cid in changed.created if cid != EMPTY_ROOT.raw}
        self.file.flush(Flush(root, new, changed.deleted, overlay.records, overlay.refs_added, overlay.refs_removed))
        self._files.tend(self.did)
        self.overlay = None
        if self.tree.loaded > nodes_kept:
            self.tree.unload()
        self.flushed = self.tree.fork()

    def unload(self) -> None:
        """Forget the loaded nodes; without an overlay the file has them all."""
        if self.overlay is None and self.tree.loaded:
            self.tree.unload()
            self.flushed = self.tree.fork()
