"""The Merkle Search Tree of a repo: from "collection/rkey" to a CID, with one root for one set of records.

Opened by its root's CID; nodes are loaded when a walk needs them and stay until `unload`. `fork` is cheap: clean nodes
are shared and never changed. After an exception in `put` or `delete` the tree is to be thrown away: fork first.
Nothing here recurses deeper than a tree is high, and a tree is at most 128 layers high (SHA-256 has 256 bits).
Does not own a node's bytes (`mst_node`), proofs (`mst_proof`) nor differences (`mst_diff`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from hashlib import sha256
from typing import Self

from ingest.repo.mst_node import EMPTY, NODE_CID, Node, check_key, decode, encode, height_of
from ingest.repo.mst_seam import lift, merge, split
from ingest.repo.reasons import Load, MissingBlock, RepoReason
from schemas.cid import Cid
from schemas.errors import Refused

EMPTY_ROOT = NODE_CID + sha256(EMPTY).digest()
"""The binary CID of a tree without records."""


class Tree:
    """`load` takes a binary CID and gives the block, its hash checked; KeyError and MissingBlock mean it is absent.

    A `partial` tree may end, after a removal, with a root whose block is absent.
    """

    __slots__ = ("_load", "_partial", "loaded", "top")

    def __init__(self, top: Node | bytes, load: Load, *, partial: bool = False) -> None:
        self.top = top
        self.loaded = 0
        self._load = load
        self._partial = partial

    @classmethod
    def empty(cls, load: Load | None = None) -> Self:
        return cls(Node(0, [], [], [None], []), load or _nothing)

    @classmethod
    def open(cls, root: Cid, load: Load) -> Self:
        return cls(root.raw, load)

    def fork(self) -> Tree:
        """Another tree with the same records; what is changed in one is not seen in the other. Wants a written tree."""
        self._want_written("fork")
        other = Tree(self.top, self._load, partial=self._partial)
        other.loaded = self.loaded
        return other

    def unload(self) -> None:
        """Drop every loaded node of a written tree; `loaded` tells how many nodes were loaded or made since."""
        self._want_written("unload")
        self.top = self.write()[0].raw
        self.loaded = 0

    def get(self, key: str) -> Cid | None:
        raw = self.find(key.encode())
        return None if raw is None else Cid(raw)

    def put(self, key: str, cid: Cid) -> Cid | None:
        """Set a key; gives what it was before. Raises Refused(NODE_KEY) for a key that no tree may hold."""
        name = key.encode()
        check_key(name)
        before = self.insert(name, cid.raw)
        return None if before is None else Cid(before)

    def delete(self, key: str) -> Cid | None:
        """Remove a key; gives what it was, None when it was absent (and then nothing changes)."""
        before = self.remove(key.encode())
        return None if before is None else Cid(before)

    def items(self, start: str = "", *, after: str | None = None) -> Iterator[tuple[str, Cid]]:
        """Keys in order from `start` (or beyond `after`); loaded nodes are not kept. Raises Refused(NODE_ORDER)."""
        for key, value in self.walk(start.encode() if after is None else after.encode() + b"\x00"):
            yield key.decode(), Cid(value)

    def write(self) -> tuple[Cid, dict[bytes, bytes]]:
        """The root, and every node made since the last write by its binary CID. HOT."""
        blocks: dict[bytes, bytes] = {}
        top = self.top
        if top.__class__ is Node:
            root = top.cid or _write(top, blocks)
            self.loaded += len(blocks)
            return Cid(root), blocks
        return Cid(top), blocks  # type: ignore[arg-type]

    def root(self) -> Node:
        """The root node, loaded."""
        top = self.top
        if top.__class__ is not Node:
            top = self.top = self.read(top, None)  # type: ignore[arg-type]
        return top

    def kid(self, node: Node, i: int) -> Node | None:
        """Child i of a node, loaded and kept. Raises Refused when its keys leave their place."""
        kid = node.kids[i]
        if kid is None or kid.__class__ is Node:
            return kid
        child = node.kids[i] = self.read(kid, node.height - 1)  # type: ignore[arg-type]
        keys = node.keys
        inner = child.keys
        if inner and ((i and inner[0] <= keys[i - 1]) or (i < len(keys) and inner[-1] >= keys[i])):
            raise Refused(RepoReason.NODE_ORDER, f"a child's keys leave the place between its neighbours at {i}")
        return child

    def read(self, cid: bytes, height: int | None) -> Node:
        """Load and parse one node without keeping it."""
        try:
            data = self._load(cid)
        except KeyError:
            raise MissingBlock(cid) from None
        self.loaded += 1
        return decode(data, cid, height)

    def find(self, key: bytes) -> bytes | None:
        node: Node | None = self.root()
        while node is not None:
            keys = node.keys
            i = bisect_left(keys, key)
            if i < len(keys) and keys[i] == key:
                return node.vals[i]
            node = self.kid(node, i)
        return None

    def insert(self, key: bytes, value: bytes) -> bytes | None:
        """`put` on binary forms, without the check of the key."""
        height = height_of(key)
        node = self.root()
        if not node.keys and node.kids[0] is None:
            self.top = Node(height, [key], [value], [None, None], [None])
            return None
        if height > node.height:
            left, right = split(self.kid, node, key)
            below = height - 1
            kids: list[Node | bytes | None] = [lift(left, below), lift(right, below)]
            self.top = Node(height, [key], [value], kids, [None])
            return None
        path: list[tuple[Node, int]] = []
        while node.height > height:
            i = bisect_left(node.keys, key)
            path.append((node, i))
            child = self.kid(node, i)
            if child is None:
                self._relink(path, lift(Node(height, [key], [value], [None, None], [None]), node.height - 1))
                return None
            node = child
        i = bisect_left(node.keys, key)
        before = None
        if i < len(node.keys) and node.keys[i] == key:
            before = node.vals[i]
            if before == value:
                return before
            node = node.own()
            node.vals[i] = value
            node.chunks[i] = None
        else:
            child = self.kid(node, i)
            parts = (None, None) if child is None else split(self.kid, child, key)
            node = node.own()
            chunks = node.chunks
            if i:
                chunks[i - 1] = None
            if i < len(chunks):
                chunks[i] = None
            chunks.insert(i, None)
            node.keys.insert(i, key)
            node.vals.insert(i, value)
            node.kids[i : i + 1] = parts
        self._relink(path, node)
        return before

    def remove(self, key: bytes) -> bytes | None:
        """`delete` on binary forms."""
        node = self.root()
        path: list[tuple[Node, int]] = []
        while True:
            keys = node.keys
            i = bisect_left(keys, key)
            if i < len(keys) and keys[i] == key:
                break
            child = self.kid(node, i)
            if child is None:
                return None
            path.append((node, i))
            node = child
        before = node.vals[i]
        merged = merge(self.kid, node, i, node, i + 1)
        node = node.own()
        del node.keys[i], node.vals[i], node.chunks[i]
        node.kids[i : i + 2] = [merged]
        if i:
            node.chunks[i - 1] = None
        if i < len(node.chunks):
            node.chunks[i] = None
        self._relink(path, node if node.keys or merged is not None else None)
        return before

    def walk(self, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """`items` on binary forms. Raises Refused(NODE_ORDER) when keys do not rise from node to node."""
        stack: list[tuple[Node, int]] = []
        node = self.root()
        last = b""
        while True:  # down to the first key that is not below `start`
            i = bisect_left(node.keys, start)
            stack.append((node, i))
            kid = node.kids[i]
            if kid is None or (i < len(node.keys) and node.keys[i] == start):
                break
            node = kid if isinstance(kid, Node) else self.read(kid, node.height - 1)
        while stack:
            node, i = stack.pop()
            if i == len(node.keys):
                continue
            key = node.keys[i]
            if key <= last:
                raise Refused(RepoReason.NODE_ORDER, f"{key!r} comes after {last!r} in the tree")
            last = key
            yield key, node.vals[i]
            i += 1
            stack.append((node, i))
            kid = node.kids[i]
            while kid is not None:
                if kid.__class__ is not Node:
                    kid = self.read(kid, node.height - 1)  # type: ignore[arg-type]
                node = kid
                stack.append((node, 0))
                kid = node.kids[0]

    def _want_written(self, act: str) -> None:
        if self.top.__class__ is Node and self.top.cid is None:
            raise ValueError(f"the tree has changes that are not written: call write() before {act}()")

    def _relink(self, path: list[tuple[Node, int]], child: Node | None) -> None:
        """Hang `child` (dirty, or nothing) below the path, and leave the root as the rules want it."""
        for parent, i in reversed(path):
            node = parent.own()
            if node is parent and node.kids[i] is child:
                return  # an earlier change of this edit has marked all that is above
            node.kids[i] = child
            if i:
                node.chunks[i - 1] = None
            child = node if child is not None or node.keys else None
        while child is not None and not child.keys:
            try:
                child = self.kid(child, 0)
            except MissingBlock as missing:
                if not self._partial:
                    raise
                self.top = missing.cid  # whether it should be cut too, the root that is expected will tell
                return
        self.top = Node(0, [], [], [None], []) if child is None else child


def _write(node: Node, blocks: dict[bytes, bytes]) -> bytes:
    """Give every dirty node its CID, children first (rules 2 and 3 say where they are)."""
    kids = node.kids
    left = kids[0]
    if left.__class__ is Node and left.cid is None:
        _write(left, blocks)
    chunks = node.chunks
    if None in chunks:
        for i, chunk in enumerate(chunks, 1):
            if chunk is None:
                kid = kids[i]
                if kid.__class__ is Node and kid.cid is None:
                    _write(kid, blocks)
    data = node.data = encode(node)
    cid = node.cid = NODE_CID + sha256(data).digest()
    blocks[cid] = data
    return cid


def _nothing(cid: bytes) -> bytes:
    raise MissingBlock(cid, "a tree that was made in memory loads nothing")
