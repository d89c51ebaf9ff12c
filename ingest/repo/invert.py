"""Take a commit's operations back: from the tree after them, to the root before them.

This is what makes the firehose inductive (https://atproto.com/specs/sync): the blocks of a commit hold enough of the
new tree to undo its operations, and the root that comes out must be the one that the last commit left.
Does not own which blocks a commit must bring (`ingest.repo.mst_proof`), nor the root that is expected.
"""

from __future__ import annotations

from collections.abc import Iterable

from ingest.repo.mst import Tree
from ingest.repo.reasons import Load, RepoReason
from schemas.errors import Refused

Change = tuple[str, bytes | None, bytes | None]
"""A path, the binary CID it has in the new tree, and the one it had before; None where it was absent."""


def invert(data: bytes, load: Load, changes: Iterable[Change]) -> bytes:
    """The root (binary CID) of the tree before `changes`, from the root after them. HOT.

    Raises Refused(INVERSION) when the new tree is not what the changes say, MissingBlock when blocks do not suffice,
    and Refused(NODE_*) for a malformed node.
    """
    tree = Tree(data, load, partial=True)
    for path, new, old in changes:
        key = path.encode()
        found = tree.remove(key) if old is None else tree.insert(key, old)
        if found != new:
            raise Refused(RepoReason.INVERSION, f"{path}: the new tree does not hold what the operation says")
    return tree.write()[0].raw
