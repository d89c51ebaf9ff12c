"""What changed between two trees, without walking what they share.

Two cursors go through both trees in key order. Where both stand before the same subtree it is skipped whole; otherwise
the higher one is opened. Its slow twin stands in tests/unit/repo/slow_twins.py.
Does not own proofs (`mst_proof`) nor the log's diff entries.
"""

from __future__ import annotations

from dataclasses import dataclass

from ingest.repo.mst import Tree
from ingest.repo.mst_node import Node
from ingest.repo.reasons import RepoReason
from schemas.cid import Cid
from schemas.errors import Refused


@dataclass(frozen=True, slots=True)
class TreeDiff:
    """`changes` are (key, before, after) in key order, None where absent; nodes are binary CIDs."""

    changes: tuple[tuple[str, Cid | None, Cid | None], ...]
    created: frozenset[bytes]
    deleted: frozenset[bytes]


def mst_diff(before: Tree, after: Tree) -> TreeDiff:
    """Both trees written; loaded nodes are not kept. Raises MissingBlock, Refused(NODE_*) for malformed trees."""
    old, new = _Cursor(before), _Cursor(after)
    changes: list[tuple[str, Cid | None, Cid | None]] = []
    while True:
        a, b = old.kid, new.kid
        if a is not None and b is not None:
            if a == b:
                old.skip()
                new.skip()
            elif old.height >= new.height:
                old.open()
            else:
                new.open()
        elif a is not None:
            old.open()
        elif b is not None:
            new.open()
        elif old.key is None and new.key is None:
            return TreeDiff(tuple(changes), frozenset(new.seen - old.seen), frozenset(old.seen - new.seen))
        elif new.key is None or (old.key is not None and old.key < new.key):
            assert old.key is not None
            changes.append((old.key.decode(), Cid(old.value), None))
            old.step()
        elif old.key is None or new.key < old.key:
            changes.append((new.key.decode(), None, Cid(new.value)))
            new.step()
        else:
            if old.value != new.value:
                changes.append((old.key.decode(), Cid(old.value), Cid(new.value)))
            old.step()
            new.step()


class _Cursor:
    """Stands before a subtree (`kid` is its CID, `height` its layer) or, with `kid` None, before a key (None: end)."""

    __slots__ = ("_child", "_stack", "_tree", "height", "key", "kid", "seen", "value")

    def __init__(self, tree: Tree) -> None:
        root = tree.root()
        if root.cid is None:
            raise ValueError("the tree has changes that are not written: call write() before mst_diff()")
        self._tree = tree
        self._stack: list[tuple[Node, int]] = []
        self.seen: set[bytes] = set()
        self._child: Node | None = root
        self.kid: bytes | None = root.cid
        self.height = root.height
        self.key: bytes | None = None
        self.value = b""

    def open(self) -> None:
        """Go into the subtree."""
        assert self.kid is not None
        node = self._child or self._tree.read(self.kid, self.height)
        if self._stack:
            parent, i = self._stack[-1]
            inner = node.keys
            if inner and (
                (i and inner[0] <= parent.keys[i - 1]) or (i < len(parent.keys) and inner[-1] >= parent.keys[i])
            ):
                raise Refused(RepoReason.NODE_ORDER, f"{inner[0]!r} leaves the place between its neighbours")
        self.seen.add(self.kid)
        self._stack.append((node, 0))
        self._stand_before_kid()

    def skip(self) -> None:
        """Go past the subtree."""
        self.kid = None
        self._stand_before_key()

    def step(self) -> None:
        """Go past the key."""
        node, i = self._stack.pop()
        self._stack.append((node, i + 1))
        self._stand_before_kid()

    def _stand_before_kid(self) -> None:
        node, i = self._stack[-1]
        kid = node.kids[i]
        if kid is None:
            self.kid = None
            self._stand_before_key()
            return
        self._child = kid if isinstance(kid, Node) else None
        self.kid = kid.cid if isinstance(kid, Node) else kid
        self.height = node.height - 1

    def _stand_before_key(self) -> None:
        while self._stack:
            node, i = self._stack[-1]
            if i < len(node.keys):
                self.key, self.value = node.keys[i], node.vals[i]
                return
            self._stack.pop()
        self.key = None
