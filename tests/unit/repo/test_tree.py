"""The tree against dictionaries and against the definition."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.repo.mst import Tree
from ingest.repo.mst_node import check_key, common_prefix, height_of
from ingest.repo.reasons import MissingBlock, RepoReason
from schemas.cid import Cid
from schemas.errors import Refused
from tests.unit.repo.slow_twins import very_slow_height, very_slow_tree

pytestmark = pytest.mark.usefixtures("each_core")

VALUES = [Cid.of_cbor(bytes((n,))) for n in range(8)]
# 88bfafc7 and its like lie in high layers: deep, sparse trees beside the usual flat ones.
KEYS = [f"c/{n}" for n in range(60)] + ["a.b.c/884976f5", "a.b.c/9adeb165882c", "app.bsky.feed.post/9adeb165882c"]
BATCHES = st.lists(
    st.lists(st.tuples(st.sampled_from(KEYS), st.none() | st.sampled_from(VALUES)), min_size=1, max_size=8), max_size=12
)


def tree_of(records: dict[str, Cid], store: dict[bytes, bytes] | None = None) -> Tree:
    store = {} if store is None else store
    tree = Tree.empty(store.__getitem__)
    for key, cid in records.items():
        tree.put(key, cid)
    store |= tree.write()[1]
    return tree


@settings(max_examples=200, deadline=None)
@given(batches=BATCHES, reopen=st.booleans())
def test_a_tree_is_the_dictionary_it_was_told(batches, reopen):
    store: dict[bytes, bytes] = {}
    model: dict[str, Cid] = {}
    tree = Tree.empty(store.__getitem__)

    for batch in batches:
        for key, value in batch:
            if value is None:
                assert tree.delete(key) == model.pop(key, None)
            else:
                assert tree.put(key, value) == model.get(key)
                model[key] = value
        root, blocks = tree.write()
        store |= blocks
        slow_root, slow_blocks = very_slow_tree(model)
        assert root == slow_root
        assert slow_blocks.items() <= store.items()
        if reopen:
            tree = Tree.open(root, store.__getitem__)

    assert list(tree.items()) == sorted(model.items())
    assert all(tree.get(key) == model.get(key) for key in KEYS)


@settings(max_examples=100, deadline=None)
@given(keys=st.lists(st.sampled_from(KEYS), unique=True), seed=st.integers())
def test_the_root_does_not_depend_on_the_order_of_writes(keys, seed):
    shuffled = keys[:]
    random.Random(seed).shuffle(shuffled)

    one = tree_of(dict.fromkeys(keys, VALUES[0]))
    other = tree_of(dict.fromkeys(shuffled, VALUES[0]))

    assert one.write()[0] == other.write()[0]


@settings(max_examples=50, deadline=None)
@given(key=st.text())
def test_heights_and_prefixes_are_those_of_the_definition(key):
    other = key[: len(key) // 2] + "x"

    assert height_of(key.encode()) == very_slow_height(key)
    size = common_prefix(key.encode(), other.encode())
    assert key.encode()[:size] == other.encode()[:size]
    assert key.encode()[: size + 1] != other.encode()[: size + 1] or size in {len(key.encode()), len(other.encode())}


def test_items_start_at_a_key_or_after_it():
    tree = tree_of(dict.fromkeys(KEYS, VALUES[0]))
    ordered = sorted(KEYS)

    assert [key for key, _ in tree.items()] == ordered
    for i, key in enumerate(ordered):
        assert [found for found, _ in tree.items(key)] == ordered[i:]
        assert [found for found, _ in tree.items(after=key)] == ordered[i + 1 :]
    assert [found for found, _ in tree.items("c/5")] == [key for key in ordered if key >= "c/5"]


def test_a_fork_keeps_what_the_other_changes():
    tree = tree_of(dict.fromkeys(KEYS, VALUES[0]))
    before = tree.write()[0]

    fork = tree.fork()
    for key in KEYS[::2]:
        fork.delete(key)
    for key in KEYS[1::2]:
        fork.put(key, VALUES[1])

    assert fork.write()[0] != before
    assert list(tree.items()) == [(key, VALUES[0]) for key in sorted(KEYS)]
    assert tree.write() == (before, {})


def test_an_unwritten_tree_is_neither_forked_nor_unloaded():
    tree = Tree.empty()
    tree.put("c/1", VALUES[0])

    with pytest.raises(ValueError, match="call write"):
        tree.fork()
    with pytest.raises(ValueError, match="call write"):
        tree.unload()


def test_unload_forgets_nodes_and_loads_them_again():
    store: dict[bytes, bytes] = {}
    tree = tree_of(dict.fromkeys(KEYS, VALUES[0]), store)
    assert tree.loaded == len(store)

    tree.unload()

    assert tree.loaded == 0
    assert tree.get(KEYS[3]) == VALUES[0]
    assert 0 < tree.loaded <= height_of(b"app.bsky.feed.post/9adeb165882c") + 1


def test_walking_a_tree_keeps_no_nodes():
    store: dict[bytes, bytes] = {}
    tree = tree_of(dict.fromkeys(KEYS, VALUES[0]), store)
    tree.unload()

    assert len(list(tree.items())) == len(KEYS)

    assert all(not isinstance(kid, type(tree.root())) for kid in tree.root().kids)


def test_a_write_that_changes_nothing_makes_no_blocks():
    tree = tree_of(dict.fromkeys(KEYS, VALUES[0]))

    assert tree.put(KEYS[0], VALUES[0]) == VALUES[0]
    assert tree.delete("c/absent") is None

    assert tree.write()[1] == {}


def test_a_leaf_may_be_linked_by_a_cid_that_is_not_blessed():
    odd = Cid(b"\x01\x71\x13\x40" + bytes(64))
    store: dict[bytes, bytes] = {}
    tree = tree_of({"c/1": odd, "c/2": VALUES[0]}, store)

    again = Tree.open(tree.write()[0], store.__getitem__)

    assert again.get("c/1") == odd
    again.put("c/3", VALUES[1])
    assert again.write()[0] == very_slow_tree({"c/1": odd, "c/2": VALUES[0], "c/3": VALUES[1]})[0]


def test_a_missing_block_is_named():
    store: dict[bytes, bytes] = {}
    tree = tree_of(dict.fromkeys(KEYS, VALUES[0]), store)
    root = tree.write()[0]
    short = {root.raw: store[root.raw]}

    with pytest.raises(MissingBlock) as caught:
        list(Tree.open(root, short.__getitem__).items())

    assert caught.value.reason == RepoReason.MISSING_BLOCK
    assert caught.value.cid in store


@pytest.mark.parametrize(
    "key", ["", "c", "c/", "/1", "c/1/2", "c/ü", "c/a b", "c/1\n", "c/1\nd/2", "c/" + "x" * 1023, "c/$", "c\x00/1"]
)
def test_a_key_that_no_tree_may_hold_is_refused(key):
    with pytest.raises(Refused) as caught:
        Tree.empty().put(key, VALUES[0])

    assert caught.value.reason == RepoReason.NODE_KEY


def test_a_key_of_1024_bytes_is_the_longest():
    check_key(b"c/" + b"x" * 1022)

    long = {"c/" + "x" * 1022: VALUES[0], "c/" + "x" * 1021 + "y": VALUES[1], "c/" + "x" * 600: VALUES[2]}
    assert tree_of(long).write()[0] == very_slow_tree(long)[0]
