"""Every commit leads back to the tree before it, from its proof alone, and by both ways of inverting."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.repo.invert import invert, invert_by_tree
from ingest.repo.mst import EMPTY_ROOT, Tree
from ingest.repo.mst_diff import mst_diff
from ingest.repo.mst_node import EMPTY, Node, encode, height_of
from ingest.repo.mst_proof import path_proof, proof
from ingest.repo.reasons import MissingBlock, RepoReason
from schemas.cid import Cid
from schemas.errors import Refused
from tests.unit.repo.slow_twins import very_slow_mst_diff

pytestmark = pytest.mark.usefixtures("each_core")

VALUES = [Cid.of_cbor(bytes((n,))) for n in range(6)]
KEYS = [f"c/{n}" for n in range(80)] + ["a.b.c/884976f5", "a.b.c/9adeb165882c", "app.bsky.feed.post/9adeb165882c"]
RECORDS = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))


def written(records: dict[str, Cid], store: dict[bytes, bytes]) -> Tree:
    tree = Tree.empty(store.__getitem__)
    for key, cid in records.items():
        tree.put(key, cid)
    store |= tree.write()[1]
    return tree


@settings(max_examples=300, deadline=None)
@given(before=RECORDS, after=RECORDS, order=st.randoms(use_true_random=False))
def test_the_proof_of_any_batch_inverts_it_in_any_order(before, after, order):
    store = {EMPTY_ROOT: EMPTY}
    old, new = written(before, store), written(after, store)
    diff = mst_diff(old, new)
    changes = [(key, b and b.raw, a and a.raw) for key, a, b in diff.changes]
    blocks = proof(new, [key for key, _, _ in changes])
    root, expected = new.write()[0].raw, old.write()[0].raw
    blocks.setdefault(root, store[root])
    order.shuffle(changes)

    assert invert(root, blocks.__getitem__, changes) == expected
    assert invert_by_tree(root, blocks.__getitem__, changes) == expected


@settings(max_examples=200, deadline=None)
@given(records=RECORDS, key=st.sampled_from(KEYS), value=st.none() | st.sampled_from(VALUES))
def test_one_change_is_spliced_as_the_tree_would_do_it(records, key, value):
    """Whatever is claimed of the key, true or not, both ways say the same."""
    store: dict[bytes, bytes] = {EMPTY_ROOT: EMPTY}
    root = written(records, store).write()[0].raw
    for new in (records.get(key), None, VALUES[0]):
        change = (key, new and new.raw, value and value.raw)
        if new is None and value is None:
            continue
        outcomes = []
        for way in (invert, invert_by_tree):
            try:
                outcomes.append(way(root, store.__getitem__, [change]))
            except Refused as error:
                outcomes.append(error.reason)
        assert outcomes[0] == outcomes[1]


@settings(max_examples=150, deadline=None)
@given(a=RECORDS, b=RECORDS)
def test_a_diff_is_that_of_the_whole_sets(a, b):
    store = {EMPTY_ROOT: EMPTY}
    one, other = written(a, store), written(b, store)
    one.unload()

    diff = mst_diff(Tree.open(one.write()[0], store.__getitem__), other)

    changes, created, deleted = very_slow_mst_diff(a, b)
    assert list(diff.changes) == changes
    assert diff.created == created
    assert diff.deleted == deleted


def test_a_diff_does_not_read_what_both_share():
    store: dict[bytes, bytes] = {}
    tree = written({f"c/{n:04}": VALUES[0] for n in range(2_000)}, store)
    before = tree.write()[0]
    tree.put("c/0500", VALUES[1])
    after, blocks = tree.write()
    store |= blocks
    read: list[bytes] = []

    def load(cid: bytes) -> bytes:
        read.append(cid)
        return store[cid]

    diff = mst_diff(Tree.open(before, load), Tree.open(after, load))

    assert diff.changes == (("c/0500", VALUES[0], VALUES[1]),)
    assert 0 < len(read) <= 2 * len(blocks)


def test_without_one_block_of_the_proof_the_inversion_is_refused():
    store: dict[bytes, bytes] = {}
    tree = written({f"c/{n:04}": VALUES[0] for n in range(500)}, store)
    tree.put("c/0100x", VALUES[1])
    root = tree.write()[0].raw
    blocks = proof(tree, ["c/0100x"])
    change = [("c/0100x", VALUES[1].raw, None)]
    refused = 0

    for cid in blocks:
        short = {other: block for other, block in blocks.items() if other != cid}
        try:
            invert(root, short.__getitem__, change)
        except MissingBlock as error:
            refused += error.cid == cid

    assert refused >= len(path_proof(tree, "c/0100x"))


def test_a_claim_that_the_new_tree_does_not_bear_out_is_refused():
    store: dict[bytes, bytes] = {}
    root = written({f"c/{n}": VALUES[0] for n in range(30)}, store).write()[0].raw
    false = {
        "created with another value": ("c/3", VALUES[1].raw, None),
        "created and absent": ("c/999", VALUES[0].raw, None),
        "deleted and there": ("c/3", None, VALUES[0].raw),
        "updated with another value": ("c/3", VALUES[1].raw, VALUES[2].raw),
        "updated and absent": ("c/999", VALUES[0].raw, VALUES[2].raw),
    }
    for name, change in false.items():
        for way in (invert, invert_by_tree):
            with pytest.raises(Refused) as caught:
                way(root, store.__getitem__, [change])
            assert caught.value.reason == RepoReason.INVERSION, name


def test_an_unwritten_tree_is_not_proven():
    tree = Tree.empty()
    tree.put("c/1", VALUES[0])

    with pytest.raises(ValueError, match="call write"):
        proof(tree, ["c/1"])
    with pytest.raises(ValueError, match="call write"):
        mst_diff(tree, Tree.empty())


def layered(layer: int, *after: str) -> list[str]:
    """Keys of one layer, those above `after` if it is given."""
    keys = (f"a.b.c/{n:05}" for n in range(2_000))
    return [key for key in keys if height_of(key.encode()) == layer and all(key > bound for bound in after)]


def crafted(top: dict[str, Cid], child: list[str]) -> tuple[bytes, dict[bytes, bytes]]:
    """A node of layer 1 whose left child, of layer 0, holds `child`; where that may lie is not asked."""
    below = Node(0, [key.encode() for key in child], [VALUES[0].raw] * len(child), [None] * (len(child) + 1), [])
    below.chunks = [None] * len(child)
    data = encode(below)
    kid = Cid.of_cbor(data)
    vals = [kid.raw if cid is SELF else cid.raw for cid in top.values()]
    kids = [kid.raw, *([None] * len(top))]
    above = encode(Node(1, [key.encode() for key in top], vals, kids, [None] * len(top)))
    root = Cid.of_cbor(above).raw
    return root, {root: above, kid.raw: data}


SELF = Cid(b"stands for the CID of the left child")


def test_a_value_that_is_also_the_childs_cid_does_not_mislead_the_splice():
    first, second = layered(1)[5:7]
    low = [key for key in layered(0) if key < first][:3]
    root, blocks = crafted({first: SELF, second: VALUES[1]}, low)
    change = [(low[1], VALUES[0].raw, None)]

    spliced = invert(root, blocks.__getitem__, change)

    assert spliced == invert_by_tree(root, blocks.__getitem__, change)
    tree = Tree.open(Cid(root), blocks.__getitem__)
    value = tree.get(first)
    tree.delete(low[1])
    assert tree.get(first) == value
    assert tree.write()[0].raw == spliced


def test_a_child_out_of_its_place_is_refused_by_both_ways():
    first, second = layered(1)[5:7]
    low = next(key for key in layered(0) if key < first)
    beyond = layered(0, second)[0]
    root, blocks = crafted({first: VALUES[1], second: VALUES[1]}, [low, beyond])
    change = [(low, VALUES[0].raw, None)]

    for way in (invert, invert_by_tree):
        with pytest.raises(Refused) as caught:
            way(root, blocks.__getitem__, change)
        assert caught.value.reason == RepoReason.NODE_ORDER
