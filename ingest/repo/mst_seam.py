"""Cut a subtree in two at a key, join two neighbours into one, and lift a subtree to a higher layer.

All give new, dirty nodes and leave those they were given as they are. Does not own the walk to them (`mst`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from ingest.repo.mst_node import Node

KidOf = Callable[[Node, int], Node | None]
"""Child i of a node, loaded."""


def split(kid: KidOf, node: Node, key: bytes) -> tuple[Node | None, Node | None]:
    """What lies left and right of a key that the node does not hold."""
    keys = node.keys
    i = bisect_left(keys, key)
    child = kid(node, i)
    left, right = (None, None) if child is None else split(kid, child, key)
    if i == len(keys) and right is None:
        return node, None
    if i == 0 and left is None:
        return None, node
    vals, kids, chunks = node.vals, node.kids, node.entries()
    before = Node(node.height, keys[:i], vals[:i], [*kids[:i], left], chunks[:i])
    after = Node(node.height, keys[i:], vals[i:], [right, *kids[i + 1 :]], chunks[i:])
    if i:
        before.chunks[-1] = None
    if i < len(keys):
        after.chunks[0] = None
    return before, after


def merge(kid: KidOf, one: Node, i: int, other: Node, j: int) -> Node | bytes | None:
    """Kid i of one node and kid j of another, neighbours of one layer, as one; neither is loaded when one is."""
    if one.kids[i] is None:
        return other.kids[j]
    if other.kids[j] is None:
        return one.kids[i]
    left, right = kid(one, i), kid(other, j)
    assert left is not None
    assert right is not None
    middle = merge(kid, left, len(left.keys), right, 0)
    node = Node(
        left.height,
        left.keys + right.keys,
        left.vals + right.vals,
        [*left.kids[:-1], middle, *right.kids[1:]],
        left.entries() + right.entries(),
    )
    seam = len(left.keys)
    if seam:
        node.chunks[seam - 1] = None
    if seam < len(node.chunks):
        node.chunks[seam] = None
    return node


def lift(node: Node | None, height: int) -> Node | None:
    """A chain of keyless nodes from `height` down to `node`."""
    if node is not None:
        for layer in range(node.height + 1, height + 1):
            node = Node(layer, [], [], [node], [])
    return node
