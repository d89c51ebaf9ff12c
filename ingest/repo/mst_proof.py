"""The nodes that prove a record, and those that a consumer needs to take a commit's operations back.

Sources: https://atproto.com/specs/sync, the commit-proof fixtures. For each key of an operation, in the new tree: the
search path to it (to the bottom where the key is absent: putting it back splits what lies there) and, where it is
present, the right edge of its left child and the left edge of its right child (taking it out merges the two).
Does not own taking them back (`ingest.repo.invert`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from ingest.repo.mst import Tree
from ingest.repo.mst_node import Node, height_of


def proof(tree: Tree, keys: Iterable[str]) -> dict[bytes, bytes]:
    """Nodes by their binary CID with which the operations on `keys` can be inverted; of a written tree. HOT."""
    nodes: dict[bytes | None, Node] = {}
    for text in keys:
        key = text.encode()
        node: Node | None = tree.root()
        while node is not None:
            nodes[node.cid] = node
            names = node.keys
            i = bisect_left(names, key)
            if i < len(names) and names[i] == key:
                left, right = tree.kid(node, i), tree.kid(node, i + 1)
                while left is not None:
                    nodes[left.cid] = left
                    left = tree.kid(left, len(left.keys))
                while right is not None:
                    nodes[right.cid] = right
                    right = tree.kid(right, 0)
                break
            node = tree.kid(node, i)
    return _encoded(nodes)


def path_proof(tree: Tree, key: str) -> dict[bytes, bytes]:
    """Nodes that show what the record at `key` is, or that there is none: the walk ends below the key's layer."""
    name = key.encode()
    height = height_of(name)
    node: Node | None = tree.root()
    nodes: dict[bytes | None, Node] = {}
    while node is not None:
        nodes[node.cid] = node
        i = bisect_left(node.keys, name)
        if node.height < height or (i < len(node.keys) and node.keys[i] == name):
            break
        node = tree.kid(node, i)
    return _encoded(nodes)


def _encoded(nodes: dict[bytes | None, Node]) -> dict[bytes, bytes]:
    if None in nodes:
        raise ValueError("the tree has changes that are not written: call write() before proving")
    return {cid: node.data for cid, node in nodes.items() if cid is not None}
