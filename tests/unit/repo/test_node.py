"""Nodes from strangers: what is accepted is canonical, and what is refused has its reason."""

from __future__ import annotations

import random

import libipld
import pytest

from ingest.repo.mst import Tree
from ingest.repo.mst_node import (
    _NODE,
    EMPTY,
    Node,
    decode,
    decode_by_the_book,
    encode,
    height_of,
    put_together,
    take_apart,
)
from ingest.repo.reasons import RepoReason
from schemas import cbor, limits
from schemas.cid import Cid
from schemas.errors import Refused

pytestmark = pytest.mark.usefixtures("each_core")

LEAF = Cid.of_cbor(b"leaf")
LOW = [key for key in (f"a.b.c/{n:05}" for n in range(400)) if height_of(key.encode()) == 0]
HIGH = [key for key in (f"a.b.c/{n:05}" for n in range(400)) if height_of(key.encode()) == 1]


def entry(key: str, shared: int = 0, kid: Cid | None = None, value: object = LEAF) -> dict[str, object]:
    return {"k": key[shared:].encode(), "p": shared, "t": kid, "v": value}


def node(*entries: object, left: object = None) -> bytes:
    return cbor.encode({"e": list(entries), "l": left})


def entries_of(keys: list[str]) -> list[dict[str, object]]:
    out, before = [], ""
    for key in keys:
        shared = next((i for i, (a, b) in enumerate(zip(before, key, strict=False)) if a != b), 0)
        out.append(entry(key, shared))
        before = key
    return out


GOOD = node(*entries_of(LOW[:6]))
CHILD = node(*entries_of(LOW[:2]))

HOSTILE = {
    "not CBOR": (b"\xff", RepoReason.NODE_ENCODING),
    "trailing bytes": (GOOD + b"\x00", RepoReason.NODE_ENCODING),
    "not a map": (b"\x80", RepoReason.NODE_ENCODING),
    "a field too many": (cbor.encode({"e": [], "l": None, "x": 1}), RepoReason.NODE_ENCODING),
    "no left link": (cbor.encode({"e": []}), RepoReason.NODE_ENCODING),
    "an entry with a field too many": (node({**entry(LOW[0]), "x": 1}), RepoReason.NODE_ENCODING),
    "a text key": (node({**entry(LOW[0]), "k": LOW[0]}), RepoReason.NODE_ENCODING),
    "a value that is no link": (node(entry(LOW[0], value=LEAF.raw)), RepoReason.NODE_ENCODING),
    "a child that is no link": (node(entry(HIGH[0]), left=LEAF.raw), RepoReason.NODE_ENCODING),
    "a child that is a blob": (node(entry(HIGH[0]), left=Cid.of_raw(b"x")), RepoReason.NODE_ENCODING),
    "a long integer": (GOOD.replace(b"ap\x00", b"ap\x18\x00", 1), RepoReason.NODE_ENCODING),
    "a negative prefix": (GOOD.replace(b"ap\x00", b"ap\x20", 1), RepoReason.NODE_PREFIX),
    "a prefix of nothing": (node({**entry(LOW[0]), "p": 3}), RepoReason.NODE_PREFIX),
    "a prefix too short": (node(entry(LOW[0]), entry(LOW[1])), RepoReason.NODE_PREFIX),
    "a key twice": (node(entry(LOW[0]), entry(LOW[0], len(LOW[0]))), RepoReason.NODE_ORDER),
    "keys that fall": (node(*entries_of([LOW[1], LOW[0]])), RepoReason.NODE_ORDER),
    "a key without a collection": (node(entry("nothing")), RepoReason.NODE_KEY),
    "a key of three parts": (node(entry("a/b/c")), RepoReason.NODE_KEY),
    "a key of other letters": (node(entry("a/b c")), RepoReason.NODE_KEY),
    "an empty key": (node(entry("")), RepoReason.NODE_ORDER),
    "keys of two layers": (node(*entries_of(sorted([LOW[0], HIGH[0]]))), RepoReason.NODE_HEIGHT),
    "a child under layer 0": (node(entry(LOW[0], kid=Cid.of_cbor(CHILD))), RepoReason.NODE_HEIGHT),
    "a left child under layer 0": (node(entry(LOW[0]), left=Cid.of_cbor(CHILD)), RepoReason.NODE_HEIGHT),
    "a root without keys": (node(left=Cid.of_cbor(CHILD)), RepoReason.NODE_EMPTY),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_malformed_node_is_refused_with_its_reason(name):
    data, reason = HOSTILE[name]

    with pytest.raises(Refused) as caught:
        decode(data, b"cid", None)

    assert caught.value.reason == reason, caught.value.detail
    assert take_apart(data, None) is None


def test_a_node_of_another_layer_than_its_parent_asks_for_is_refused():
    for data, height in ((CHILD, 1), (node(entry(HIGH[0])), 0), (EMPTY, 0)):
        with pytest.raises(Refused) as caught:
            decode(data, b"cid", height)
        assert caught.value.reason in {RepoReason.NODE_HEIGHT, RepoReason.NODE_EMPTY}
        assert decode(data, b"cid", None) is not None


def test_entries_are_bounded():
    keys = [key for key in (f"a.b.c/{n:05}" for n in range(1000)) if height_of(key.encode()) == 0]
    most, over = keys[: limits.MST_NODE_ENTRIES_MAX], keys[: limits.MST_NODE_ENTRIES_MAX + 1]

    assert len(decode(node(*entries_of(most)), b"", None).keys) == limits.MST_NODE_ENTRIES_MAX
    with pytest.raises(Refused) as caught:
        decode(node(*entries_of(over)), b"", None)
    assert caught.value.reason == RepoReason.NODE_ENTRIES


def test_a_child_that_leaves_its_place_is_refused():
    child = node(*entries_of([key for key in LOW if key > HIGH[1]][:2]))
    top = node(*entries_of(HIGH[:2]), left=Cid.of_cbor(child))
    blocks = {Cid.of_cbor(data).raw: data for data in (child, top)}

    for read in (lambda tree: tree.get("a.b.c/0"), lambda tree: list(tree.items())):
        with pytest.raises(Refused) as caught:
            read(Tree.open(Cid.of_cbor(top), blocks.__getitem__))
        assert caught.value.reason == RepoReason.NODE_ORDER


def test_a_deep_tree_of_mined_keys_is_read_without_recursion_errors():
    """One key of layer 8 above a chain of keyless nodes, then one that goes on below layer 0."""
    top_key = "app.bsky.feed.post/9adeb165882c"
    low = next(key for key in LOW if key < top_key)
    cid, blocks = Cid.of_cbor(node(entry(low))), {}
    blocks[cid.raw] = node(entry(low))
    for _ in range(7):
        data = node(left=cid)
        cid = Cid.of_cbor(data)
        blocks[cid.raw] = data
    good = node(entry(top_key), left=cid)
    bad = node(entry(top_key), left=Cid.of_cbor(node(left=cid)))
    for data in (good, node(left=cid), bad):
        blocks[Cid.of_cbor(data).raw] = data

    assert [key for key, _ in Tree.open(Cid.of_cbor(good), blocks.__getitem__).items()] == [low, top_key]
    with pytest.raises(Refused) as caught:
        list(Tree.open(Cid.of_cbor(bad), blocks.__getitem__).items())
    assert caught.value.reason == RepoReason.NODE_HEIGHT


@pytest.mark.timeout(60)
def test_a_huge_hostile_node_is_refused_in_time_that_grows_with_its_size():
    """A pattern that backtracked would not end within the test's timeout."""
    for filler in (b"ap" * 500_000, b"a" * 1_000_000, b"\xa4ak" * 300_000, GOOD[4:-3] * 3_000):
        data = b"\xa2ae\x98\xff" + GOOD[4:-3] * 20 + b"\xa4akX\xff" + filler + b"al\xf6"
        assert take_apart(data, None) is None


def test_a_key_length_that_hides_structure_in_byte_strings_does_not_fool_the_fast_reader():
    """The pattern sees three entries here, the codec two: a short key, p = -17, then byte strings over the rest."""
    keys = (f"a.b.c/{'0' * 20}{n:03}" for n in range(400))
    first = next(key for key in keys if height_of(key.encode()) == 1)
    suffix = next(s for s in (f"z{n}" for n in range(400)) if height_of((first[:-17] + s).encode()) == 1)
    link = b"\xd8\x2aX\x25\x00" + LEAF.raw
    rest = b"ap\x00at\xf6av" + link
    swallowed = b"ff" + rest + b"\xa4akA" + b"g" * 17
    final = b"h" * 13 + rest + b"al\xf6"
    data = b"".join(
        (
            b"\xa2ae\x82",
            b"\xa4akX" + bytes((len(first),)) + first.encode() + rest,
            b"\xa4ak" + bytes((0x40 + len(suffix),)) + suffix.encode(),
            b"ap0atX" + bytes((len(swallowed),)) + swallowed + b"avaq",
            b"alX" + bytes((len(final),)) + final,
        )
    )

    assert _NODE(data)
    seen = libipld.decode_dag_cbor(data)
    assert [(entry["k"], entry["p"]) for entry in seen["e"]] == [(first.encode(), 0), (suffix.encode(), -17)]
    assert take_apart(data, None) is None
    with pytest.raises(Refused):
        decode(data, b"cid", None)


def as_tuple(found: Node) -> tuple[object, ...]:
    return found.height, found.keys, found.vals, found.kids


def mutations(rng, count):
    """Nodes of every kind with up to three changes, each with the layer that its parent asks for."""
    mixed = node(
        entry(HIGH[0], kid=Cid.of_cbor(CHILD)), entry(HIGH[1], 8, value=Cid.of_raw(b"blob")), left=Cid.of_cbor(CHILD)
    )
    seeds = [GOOD, CHILD, mixed, node(*entries_of(LOW[:30])), node(left=Cid.of_cbor(CHILD))]
    tokens = [b"ap", b"ap\x00", b"ap\x18\x09", b"at\xf6", b"\xa4ak", b"\xd8\x2aX\x25\x00", b"X\x24", b"x\x01p", b"\x40"]
    for _ in range(count):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            at = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[at] = rng.choice((rng.randrange(256), data[at] ^ 1, data[at] + 1 & 255))
                case 1:
                    del data[at]
                case 2:
                    token = rng.choice(tokens)
                    data[at : at + rng.choice((0, len(token)))] = token
                case _:
                    end = at + rng.randrange(60)
                    data[at:at] = data[at:end]
        yield bytes(data), rng.choice((None, 0, 1))


def test_the_fast_reader_accepts_nothing_that_the_book_refuses():
    """Mutated nodes of every kind: whatever is accepted is the same to both, and encodes to the same bytes."""
    accepted = refused = 0
    for raw, height in mutations(random.Random(5), 30_000):
        parts = take_apart(raw, height)
        try:
            book = decode_by_the_book(raw, b"cid", height)
        except Refused:
            assert parts is None, raw.hex()
            refused += 1
            continue
        assert encode(Node(book.height, book.keys, book.vals, book.kids, [None] * len(book.keys))) == raw
        if parts is not None:
            fast = put_together(parts, raw, b"cid")
            assert as_tuple(fast) == as_tuple(book)
            assert encode(fast.own()) == raw
            accepted += 1

    assert accepted > 1_000
    assert refused > 10_000


def test_keys_of_high_layers_are_told_apart():
    """Layers from 4 on lie beyond a digest's first byte, those from 8 on beyond its second."""
    found: dict[int, list[str]] = {layer: [] for layer in range(4, 9)}
    n = 0
    while any(len(keys) < 2 for keys in found.values()):
        n += 1
        layer = height_of(b"a.b.c/%06d" % n)
        if layer in found:
            found[layer].append(f"a.b.c/{n:06}")

    for layer, keys in found.items():
        raw = node(*entries_of(keys[:2]))
        assert decode(raw, b"cid", None).height == decode_by_the_book(raw, b"cid", None).height == layer
        for other in found.keys() - {layer}:
            raw = node(*entries_of(sorted((keys[0], found[other][0]))))
            assert take_apart(raw, None) is None
            with pytest.raises(Refused) as refused:
                decode(raw, b"cid", None)
            assert refused.value.reason == RepoReason.NODE_HEIGHT
