"""The blocks that a commit must bring, as the protocol's fixtures list them."""

from __future__ import annotations

import json

import pytest

from ingest.repo.invert import invert
from ingest.repo.mst import Tree
from ingest.repo.mst_proof import proof
from schemas.cid import Cid

pytestmark = pytest.mark.usefixtures("each_core")


def test_commit_proof_fixtures(vectors):
    cases = json.loads(vectors("bluesky-social/atproto-interop-tests/firehose/commit-proof-fixtures.json").read_text())

    assert cases
    for case in cases:
        leaf = Cid.parse(case["leafValue"])
        tree = Tree.empty()
        for key in case["keys"]:
            tree.put(key, leaf)
        before = tree.write()[0]
        assert str(before) == case["rootBeforeCommit"], case["comment"]

        for key in case["adds"]:
            tree.put(key, leaf)
        for key in case["dels"]:
            tree.delete(key)
        after = tree.write()[0]
        blocks = proof(tree, case["adds"] + case["dels"])

        assert str(after) == case["rootAfterCommit"], case["comment"]
        assert {str(Cid(cid)) for cid in blocks} == set(case["blocksInProof"]), case["comment"]
        assert all(Cid.of_cbor(block).raw == cid for cid, block in blocks.items())
        changes = [(key, leaf.raw, None) for key in case["adds"]] + [(key, None, leaf.raw) for key in case["dels"]]
        assert invert(after.raw, blocks.__getitem__, changes) == before.raw
