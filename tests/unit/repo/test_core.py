"""The compiled core accepts what its twins in Python accept, gives the same, and has no answer for anything else."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hatch_build import FOLDER, compile_core, source_digest
from ingest.repo import core
from ingest.repo.car import read_car
from ingest.repo.invert import invert, invert_by_tree
from ingest.repo.mst import EMPTY_ROOT, Tree
from ingest.repo.mst_node import EMPTY, decode_by_the_book, encode_entry, height_of
from ingest.repo.mst_proof import proof
from ingest.repo.reasons import MissingBlock, RepoReason
from schemas.cid import Cid
from schemas.errors import Refused
from tests.unit.repo.test_node import HOSTILE, mutations
from tests.unit.repo.world import Account, path, record

ROOT = Path(__file__).resolve().parents[3]
VALUES = [Cid.of_cbor(bytes((n,))).raw for n in range(4)] + [Cid.of_raw(b"blob").raw]
# The last three lie on layers 4 to 7: trees with chains of keyless nodes.
KEYS = [f"c/{n}" for n in range(120)] + ["a.b.c/884976f5", "a.b.c/9adeb165882c", "app.bsky.feed.post/9adeb165882c"]


@pytest.fixture(autouse=True)
def compiled():
    if not core.switch(on=True):
        pytest.skip("no compiled core: there was no C compiler at set-up")


def outcome(way, *arguments):
    """What a way gives, or why not, to the block that is missing."""
    try:
        return way(*arguments)
    except MissingBlock as error:
        return error.reason, error.cid
    except Refused as error:
        return error.reason


def test_the_core_is_compiled_from_this_source():
    from ingest.repo.core import _compiled

    assert source_digest(ROOT / FOLDER) == _compiled.SOURCE, "expected a fresh core: run `make setup`"


def test_digests_are_those_of_the_standard_library_by_either_way():
    from ingest.repo.core import _compiled

    rng = random.Random(3)
    for size in [*range(260), 1_000, 65_536, 100_001]:
        data = rng.randbytes(size)
        assert _compiled.digests(data) == (sha256(data).digest(),) * 2
        assert _compiled.layer_of(data) == height_of(data)


def as_parts(node):
    return node.keys, node.vals, node.kids, node.height


def test_a_node_is_taken_apart_as_the_book_says():
    accepted = refused = 0
    for data, height in mutations(random.Random(6), 60_000):
        parts = core.take_apart(data, height)
        try:
            book = decode_by_the_book(data, b"cid", height)
        except Refused:
            assert parts is None, data.hex()
            refused += 1
            continue
        # What the core leaves to the book though it holds: the empty tree, and values of other hashes.
        if parts is not None:
            assert parts == as_parts(book)
            accepted += 1
        else:
            assert not book.keys or not all(Cid(value).is_blessed for value in book.vals)

    assert accepted > 2_000
    assert refused > 20_000


@pytest.mark.parametrize("name", HOSTILE)
def test_the_core_has_no_answer_to_a_malformed_node(name):
    data, _ = HOSTILE[name]

    assert core.take_apart(data, None) is None
    root = Cid.of_cbor(data).raw
    assert core.invert(root, {root: data}.__getitem__, (("c/1", VALUES[0], None),)) is None


def test_no_node_that_is_cut_short_is_accepted():
    account = Account()
    account.commit({path(n): record(str(n)) for n in range(40)})
    data = max((block for cid, block in account.blocks.items() if core.take_apart(block, None)), key=len)

    for end in range(len(data)):
        assert core.take_apart(data[:end], None) is None
        assert core.take_apart(data + data[:end], None) is None or end == 0


@settings(max_examples=400, deadline=None)
@given(
    records=st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), min_size=1),
    claims=st.lists(
        st.tuples(st.sampled_from(KEYS), st.sampled_from([None, *VALUES]), st.sampled_from([None, *VALUES])),
        min_size=1,
        max_size=8,
    ),
    honest=st.booleans(),
    rng=st.randoms(use_true_random=False),
)
def test_any_claims_on_any_blocks_are_judged_alike(records, claims, honest, rng):
    """True and false claims, whole proofs and such as lack a block or hold a mutated one."""
    store = {EMPTY_ROOT: EMPTY}
    tree = Tree.empty(store.__getitem__)
    for key, value in records.items():
        tree.insert(key.encode(), value)
    root, nodes = tree.write()
    store |= nodes
    if honest:
        standing = dict(records)
        claims = [(key, standing.get(key), old) for key, _, old in {claim[0]: claim for claim in claims}.values()]
        store |= proof(tree, [key for key, _, _ in claims])
    victim = rng.choice(list(nodes))
    match rng.randrange(4):
        case 0:
            del store[victim]
        case 1:
            store[victim] = mutated(rng, store[victim])
        case 2:
            store[victim] = store[rng.choice(list(nodes))]

    expected = outcome(invert_by_tree, root.raw, store.__getitem__, claims)

    assert outcome(invert, root.raw, store.__getitem__, claims) == expected
    answer = core.invert(root.raw, store.__getitem__, tuple(claims))
    assert answer in {None, expected}


def mutated(rng, data):
    changed = bytearray(data)
    at = rng.randrange(len(data))
    changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def test_thousands_of_claims_on_large_trees_are_judged_alike():
    """Commits of 1 to 200 operations on trees of up to 3,000 records; a third of the claims are false."""
    rng = random.Random(8)
    seen: Counter[str] = Counter()
    answered = judged = 0
    for _ in range(60):
        names = [f"app.bsky.feed.post/3k{rng.randrange(10**9):09}" for _ in range(rng.choice((3, 50, 3_000)))]
        tree = Tree.empty()
        for key in names:
            tree.insert(key.encode(), rng.choice(VALUES))
        root, nodes = tree.write()
        for _ in range(6):
            changes = []
            for _ in range(rng.choice((1, 1, 2, 10, 200))):
                key = rng.choice((rng.choice(names), f"app.bsky.feed.like/3k{rng.randrange(10**9):09}"))
                new = tree.find(key.encode())
                if rng.randrange(300) == 0:
                    new = rng.choice((None, *VALUES))
                changes.append((key, new, rng.choice((None, *VALUES))))
            changes = list({change[0]: change for change in changes}.values())
            blocks = proof(tree, [change[0] for change in changes]) | {root.raw: nodes[root.raw]}
            expected = outcome(invert_by_tree, root.raw, blocks.__getitem__, changes)
            answer = core.invert(root.raw, blocks.__getitem__, tuple(changes))
            seen["root" if isinstance(expected, bytes) else str(expected)] += 1
            if isinstance(expected, bytes):
                assert answer == expected
            else:
                assert answer is None
            judged += len(changes)
            answered += answer is not None

    assert judged > 5_000
    assert answered > 100
    assert seen[RepoReason.INVERSION] > 10


def test_a_load_that_fails_otherwise_is_heard():
    def broken(_):
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        invert(VALUES[0], broken, [("c/1", VALUES[0], None)])

    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        core.invert(VALUES[0], interrupted, (("c/1", VALUES[0], None),))


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (b"short", {}.__getitem__, ()),
        (VALUES[0], {}.__getitem__, [("c/1", VALUES[0], None)]),
        (VALUES[0], {}.__getitem__, (["c/1", VALUES[0], None],)),
        (VALUES[0], {}.__getitem__, (("c/1", VALUES[0]),)),
        (VALUES[0], {}.__getitem__, ((b"c/1", VALUES[0], None),)),
        (VALUES[0], {}.__getitem__, (("c/\ud800", VALUES[0], None),)),
        (VALUES[0], {}.__getitem__, (("c/" + "x" * 2_000, VALUES[0], None),)),
        (VALUES[0], {}.__getitem__, (("c/1", b"\x01\x55\x00\x00", None),)),
        (VALUES[0], lambda _: None, (("c/1", VALUES[0], None),)),
        (VALUES[0], None, (("c/1", VALUES[0], None),)),
    ],
)
def test_the_core_has_no_answer_to_what_it_does_not_know(arguments):
    assert core.invert(*arguments) is None


def test_an_entry_is_written_alike():
    rng = random.Random(10)
    answered = 0
    for _ in range(3_000):
        before = bytes(rng.choices(b"ab/", k=rng.choice((0, 3, 30, 300))))
        key = before[: rng.randrange(len(before) + 1)] + bytes(
            rng.choices(b"ab/", k=rng.choice((0, 1, 25, 300, 1_000)))
        )
        value = rng.choice([*VALUES, b"\x01\x55\x00\x00"])
        kid = rng.choice((None, VALUES[0]))
        core.switch(on=False)
        expected = encode_entry(before, key, value, kid)
        core.switch(on=True)
        assert encode_entry(before, key, value, kid) == expected
        answered += core.encode_entry(before, key, value, kid) == expected

    assert answered > 1_500
    assert core.encode_entry(b"", b"k") is None
    assert core.encode_entry(b"", "k", VALUES[0], None) is None


def test_sections_of_a_car_are_read_alike():
    rng = random.Random(9)
    account = Account()
    account.commit({path(n): record(str(n)) for n in range(300)})
    message = account.commit({path(n): record("new") for n in range(5)}).message()
    seen: Counter[str] = Counter()
    for _ in range(5_000):
        data = bytearray(message.blocks)
        for _ in range(rng.randrange(3)):
            at = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[at] ^= 1 << rng.randrange(8)
                case 1:
                    del data[at:]
                    data += b"\x80" * rng.randrange(12)
                case 2:
                    data += data[59 : rng.randrange(60, len(data) + 60)]
                case _:
                    del data[at]
        raw = bytes(data)
        core.switch(on=False)
        expected = outcome(read_car, raw)
        core.switch(on=True)
        found = outcome(read_car, raw)
        assert found == expected
        seen[str(found) if isinstance(found, RepoReason) else "blocks"] += 1
        if isinstance(found, tuple):
            assert list(found[1]) == list(expected[1])

    assert seen["blocks"] > 500
    assert seen[RepoReason.CAR_HASH] > 500
    assert len(seen) > 4


def test_nothing_is_left_behind_by_answers_and_by_none():
    account = Account()
    account.commit({path(n): record(str(n)) for n in range(500)})
    made = account.commit({path(3): None, path(900): record("x")})
    changes = tuple((op.path, op.cid and op.cid.raw, op.prev and op.prev.raw) for op in reversed(made.ops))
    lacking = {cid: made.blocks[cid] for cid in list(made.blocks)[:2]}
    blocks = made.message().blocks
    data = made.signed.data.raw

    def once() -> None:
        assert core.invert(data, made.blocks.__getitem__, changes) == made.prev_data.raw
        assert core.invert(data, lacking.__getitem__, changes) is None
        assert core.read_blocks(blocks, 59)
        assert core.read_blocks(blocks[:-1], 59) is None
        assert core.take_apart(made.blocks[data], None)
        assert core.take_apart(made.blocks[data][:-1], None) is None

    tracemalloc.start()
    try:
        for _ in range(50):
            once()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(500):
            once()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert after - before < 10_000


def test_where_nothing_can_be_compiled_the_stale_core_goes(tmp_path, monkeypatch, capsys):
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    for source in (ROOT / FOLDER).glob("*.[ch]"):
        (folder / source.name).write_bytes(source.read_bytes())
    made = compile_core(tmp_path)
    if made is None:
        pytest.skip("there is no C compiler any more")
    assert made.stat().st_size > 10_000
    assert source_digest(folder) == source_digest(ROOT / FOLDER)
    monkeypatch.setenv("CC", "no-such-compiler-here")

    assert compile_core(tmp_path) is None

    assert sorted(path.suffix for path in folder.iterdir() if path.suffix not in {".c", ".h"}) == []
    assert "its twin in Python serves" in capsys.readouterr().err
    monkeypatch.setenv("HEADRACE_CORE", "require")
    with pytest.raises(RuntimeError, match="HEADRACE_CORE=require"):
        compile_core(tmp_path)
