"""The tree against the protocol's fixtures and against mst-test-suite's exhaustive trees."""

from __future__ import annotations

import gzip
import json

import pytest

from ingest.repo.car import read_car
from ingest.repo.invert import invert, invert_by_tree
from ingest.repo.mst import Tree
from ingest.repo.mst_diff import mst_diff
from ingest.repo.mst_node import common_prefix, height_of
from ingest.repo.mst_proof import path_proof, proof
from schemas.cid import Cid
from tests.unit.repo.slow_twins import very_slow_height, very_slow_mst_diff, very_slow_tree

pytestmark = pytest.mark.usefixtures("each_core")

FIXTURES = "bluesky-social/atproto-interop-tests/mst"
SUITE = "DavidBuchanan314/mst-test-suite"


def test_key_heights(vectors):
    cases = json.loads(vectors(f"{FIXTURES}/key_heights.json").read_text())

    assert cases
    for case in cases:
        assert height_of(case["key"].encode()) == very_slow_height(case["key"]) == case["height"]


def test_common_prefixes(vectors):
    cases = json.loads(vectors(f"{FIXTURES}/common_prefix.json").read_text())

    assert cases
    for case in cases:
        assert common_prefix(case["left"].encode(), case["right"].encode()) == case["len"]


def test_example_keys_make_the_tree_of_the_definition(vectors):
    keys = vectors(f"{FIXTURES}/example_keys.txt").read_text().split()
    value = Cid.of_cbor(b"value")
    tree = Tree.empty()

    assert keys
    for key in keys:
        assert str(very_slow_height(key)) == key[1]
        tree.put(key, value)

    assert tree.write() == very_slow_tree(dict.fromkeys(keys, value))


def test_the_exhaustive_diffs(vectors):
    """Operations, created and deleted nodes, proofs of presence, and what an inversion reads."""
    trees: dict[str, tuple[Cid, dict[bytes, bytes]]] = {}

    def opened(name: str) -> tuple[Cid, dict[bytes, bytes]]:
        if name not in trees:
            roots, blocks = read_car(vectors(f"{SUITE}/{name}").read_bytes())
            trees[name] = roots[0], blocks
        return trees[name]

    def texts(cids) -> set[str]:
        return {str(Cid(cid)) for cid in cids}

    count = 0
    with gzip.open(vectors(f"{SUITE}/mst-diff.jsonl.gz"), "rt") as lines:
        for line in lines:
            case = json.loads(line)
            (before, old), (after, new) = opened(case["a"]), opened(case["b"])
            diff = mst_diff(Tree.open(before, old.__getitem__), Tree.open(after, new.__getitem__))
            ops = sorted(case["record_ops"], key=lambda op: op["rpath"])
            assert [(key, a and str(a), b and str(b)) for key, a, b in diff.changes] == [
                (op["rpath"], op["old_value"], op["new_value"]) for op in ops
            ]
            assert texts(diff.created) == set(case["created_nodes"])
            assert texts(diff.deleted) == set(case["deleted_nodes"])

            tree = Tree.open(after, new.__getitem__)
            keys = [key for key, _, _ in diff.changes]
            assert texts(cid for key in keys for cid in path_proof(tree, key)) == set(case["proof_nodes"])

            read: set[bytes] = set()

            def load(cid: bytes, blocks=new, read=read) -> bytes:
                read.add(cid)
                return blocks[cid]

            changes = [(key, b and b.raw, a and a.raw) for key, a, b in reversed(diff.changes)]
            if changes:
                assert invert_by_tree(after.raw, load, changes) == before.raw
            assert texts(read) == set(case["inductive_proof_nodes"])
            assert invert(after.raw, proof(tree, keys).__getitem__, changes) == before.raw
            count += 1

    assert count == 8_866
    assert len(trees) == 128


def test_the_fast_diff_is_the_slow_one_on_the_exhaustive_trees(vectors):
    folder = vectors(f"{SUITE}/cars/exhaustive")
    trees = []
    for path in sorted(folder.glob("*.car"))[::8]:
        roots, blocks = read_car(path.read_bytes())
        tree = Tree.open(roots[0], blocks.__getitem__)
        trees.append((tree, dict(tree.items())))

    assert len(trees) == 16
    for one, records in trees:
        assert very_slow_tree(records)[0] == one.write()[0]
        for other, others in trees:
            diff = mst_diff(one, other)
            assert (list(diff.changes), diff.created, diff.deleted) == very_slow_mst_diff(records, others)
