"""Take a commit's operations back: from the tree after them, to the root before them.

This is what makes the firehose inductive (https://atproto.com/specs/sync): the blocks of a commit hold enough of the
new tree to undo its operations, and the root that comes out must be the one that the last commit left.
Does not own which blocks a commit must bring (`ingest.repo.mst_proof`), nor the root that is expected.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from hashlib import sha256

from ingest.repo import core
from ingest.repo.mst import Tree
from ingest.repo.mst_node import encode, height_of, put_together, take_apart
from ingest.repo.reasons import Load, MissingBlock, RepoReason
from schemas.cid import CBOR_PREFIX
from schemas.errors import Refused

Change = tuple[str, bytes | None, bytes | None]
"""A path, the binary CID it has in the new tree, and the one it had before; None where it was absent."""


def invert(data: bytes, load: Load, changes: Iterable[Change]) -> bytes:
    """The root (binary CID) of the tree before `changes`, from the root after them. HOT.

    Raises Refused(INVERSION) when the new tree is not what the changes say, MissingBlock when blocks do not suffice,
    and Refused(NODE_*) for a malformed node.
    """
    changes = tuple(changes)
    if core.invert is not None:
        root = core.invert(data, load, changes)
        if root is not None:
            return root
    elif len(changes) == 1:
        root = _splice(data, load, *changes[0])
        if root is not None:
            return root
    return invert_by_tree(data, load, changes)


def invert_by_tree(data: bytes, load: Load, changes: Iterable[Change]) -> bytes:
    """The definition of `invert`: the tree's own operations."""
    tree = Tree(data, load, partial=True)
    for path, new, old in changes:
        key = path.encode()
        found = tree.remove(key) if old is None else tree.insert(key, old)
        if found != new:
            raise Refused(RepoReason.INVERSION, f"{path}: the new tree does not hold what the operation says")
    return tree.write()[0].raw


def _splice(data: bytes, load: Load, path: str, new: bytes | None, old: bytes | None) -> bytes | None:
    """One change of one entry that has no children beside it, three in four: None for all others, and for all faults.

    For where nothing is compiled: the core needs no help.
    Nodes above the entry change only in one child's CID, so their bytes are cut and put together again.
    """
    key = path.encode()
    height = height_of(key)
    if height and (new is None or old is None):
        return None  # a key that comes or goes above layer 0 parts or joins its children
    trail: list[tuple[bytes, int]] = []
    layer: int | None = None
    low, high = b"", b"\xff"
    cid = data
    while True:
        try:
            node = load(cid)
        except (KeyError, MissingBlock):
            return None
        parts = take_apart(node, layer)
        if parts is None:
            return None
        keys, entries, left, layer = parts
        if keys and (keys[0] <= low or keys[-1] >= high):
            return None
        i = bisect_left(keys, key)
        if layer <= height:
            break
        if i < len(keys):
            high = keys[i]
        if i:
            low = keys[i - 1]
            kid = entries[i - 1]["t"]
        else:
            kid = left
        if kid is None or node.count(kid) != 1:
            return None
        trail.append((node, node.index(kid)))
        cid = kid
        layer -= 1
    there = i < len(keys) and keys[i] == key
    if layer != height or there != (new is not None) or (there and entries[i]["v"] != new):
        return None
    last = put_together(parts, node, cid).own()
    chunks = last.chunks
    if old is None:
        if len(keys) == 1:
            return None  # the node goes with its last key
        del last.keys[i], last.vals[i], last.kids[i], chunks[i]
        chunks[i : i + 1] = [None] * len(chunks[i : i + 1])
    elif there:
        last.vals[i] = old
        chunks[i] = None
    else:
        last.keys.insert(i, key)
        last.vals.insert(i, old)
        last.kids.insert(i, None)
        chunks[i : i + 1] = [None] * (1 + len(chunks[i : i + 1]))
    cid = CBOR_PREFIX + sha256(encode(last)).digest()
    for above, at in reversed(trail):
        cid = CBOR_PREFIX + sha256(b"".join((above[:at], cid, above[at + 36 :]))).digest()
    return cid
