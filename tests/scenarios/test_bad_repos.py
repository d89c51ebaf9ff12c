"""CARs that do not hold, given to importRepo: refused whole, in bounded time, and the repo is as it was."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.repo.car import car_bytes, read_car, varint, write_car
from ingest.repo.commit import UnsignedCommit, decode_commit
from ingest.repo.keys import PrivateKey
from ingest.repo.mst import Tree
from ingest.repo.mst_node import height_of
from schemas import cbor
from schemas.cid import Cid
from schemas.limits import COMMIT_BLOCKS_MAX, MST_NODE_ENTRIES_MAX
from schemas.tid import tid_from_micros
from tests.support.hostile import POST, REPO, SYNC, post, raw, repo_car, request, tree_car, untouched
from tests.support.invalid_blocks import INVALID_BLOCKS, SHOWN_BLOCKS

INVALID = tuple(INVALID_BLOCKS.values())
SHOWN = {INVALID_BLOCKS[name] for name in SHOWN_BLOCKS}
IMPORT = f"{REPO}.importRepo"
CAR = {"Content-Type": "application/vnd.ipld.car"}
KEY = "com.example.note/n"


async def give(house, member, car: bytes):
    return await house.post(IMPORT, data=io.BytesIO(car), headers={**member.auth, **CAR})


def notes(number: int) -> dict[str, bytes]:
    return {f"{KEY}{n:03}": cbor.encode({"$type": "com.example.note", "n": n}) for n in range(number)}


def node(entries: list[tuple[bytes, bytes]], left: bytes | None = None) -> bytes:
    """A node's bytes, whatever they are worth: (key, value) without prefixes."""
    listed = [{"k": key, "p": 0, "t": None, "v": Cid(value)} for key, value in entries]
    return cbor.encode({"e": listed, "l": None if left is None else Cid(left)})


def of_nodes(did: str, root: bytes, *others: bytes) -> bytes:
    return repo_car(did, {Cid.of_cbor(data).raw: data for data in (root, *others)}, Cid.of_cbor(root))


def low_keys(count: int) -> list[bytes]:
    """Keys of layer 0, in order."""
    found = (f"com.example.note/m{n:05}".encode() for n in range(10 * count))
    return [key for key in found if height_of(key) == 0][:count]


async def test_cars_that_do_not_hold_change_nothing(house, vectors: Callable[[str], Path]) -> None:
    alice, bobby = await house.join("alice"), await house.join("bobby")
    for n in range(20):
        await house.say(alice, f"post {n}")
    did = alice.did
    good = tree_car(did, notes(200))
    roots, blocks = read_car(good)
    commit = decode_commit(blocks[roots[0].raw])
    record = cbor.encode({"$type": "com.example.note"})
    value = Cid.of_cbor(record).raw
    low = low_keys(MST_NODE_ENTRIES_MAX + 1)
    over = low[-1]

    def without(cid: Cid) -> bytes:
        return car_bytes(roots[0], {key: block for key, block in blocks.items() if key != cid.raw})

    def signed(**fields: object) -> bytes:
        value = {"did": did, "version": 3, "data": commit.data, "rev": "3kaaaaaaaaa2a", "prev": None, "sig": b"x" * 64}
        block = cbor.encode({name: found for name, found in {**value, **fields}.items() if found is not ...})
        return car_bytes(Cid.of_cbor(block), {**blocks, Cid.of_cbor(block).raw: block})

    bad = {
        "nothing": b"",
        "one byte": b"\x00",
        "noise": bytes(range(256)) * 40,
        "JSON": b'{"not": "a car"}',
        "a header alone": good[: good[0] + 1],
        "an endless varint": b"\xff" * 40,
        "a varint of 2**63": b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + good,
        "a header of 20,000 bytes": b"\xa0\x9c\x01" + b"\xa0" * 20_000,
        "CAR version 2": bytes.fromhex("0aa16776657273696f6e02") + b"\x00" * 40,
        "no roots": b"".join(write_car((), blocks)),
        "a root that is not there": b"".join(write_car((Cid.of_cbor(b"x"),), blocks)),
        "a root that is a record": b"".join(write_car((Cid.of_cbor(notes(1)[f"{KEY}000"]),), blocks)),
        "a section of no bytes": good + b"\x00",
        "a section of 2,000,001 bytes": good + varint(36 + COMMIT_BLOCKS_MAX + 1) + b"x" * 1_000,
        "a section of 5 MB": good + b"\xc0\x96\xb1\x02" + b"x" * 1_000,
        "a CID of version 0": good + b"\x23\x12\x20" + b"x" * 33,
        "without its tree": without(commit.data),
        "without a record": without(Cid.of_cbor(notes(8)[f"{KEY}007"])),
        "another account's": tree_car(bobby.did, notes(5)),
        "nobody's": signed(did="nonsense"),
        "version 2": signed(version=2),
        "version 4": signed(version=4),
        "a rev that is none": signed(rev="yesterday"),
        "no prev": signed(prev=...),
        "no signature": signed(sig=...),
        "a signature that is a link": signed(sig=commit.data),
        "data that is text": signed(data="x"),
        "a tree that is a record": signed(data=Cid.of_cbor(notes(1)[f"{KEY}000"])),
        "a commit that is a list": repo_root(cbor.encode([1, 2]), blocks),
        "a commit 900 deep": repo_root(b"\x81" * 900 + b"\x01", blocks),
        "a path without a key": of_nodes(did, node([(b"com.example.note", value)]), record),
        "a path of three parts": of_nodes(did, node([(b"com.example.note/a/b", value)]), record),
        "a collection that is none": of_nodes(did, node([(b"note/a", value)]), record),
        "a key of dots": of_nodes(did, node([(b"com.example.note/..", value)]), record),
        "a node of too many entries": of_nodes(did, node([(key, value) for key in low]), record),
        "a node out of order": of_nodes(did, node([(low[1], value), (low[0], value)]), record),
        "a node with a key twice": of_nodes(did, node([(low[0], value), (low[0], value)]), record),
        "a node that is its own record": of_nodes(did, node([(low[0], value)])),
        "an empty node below another": of_nodes(did, node([], Cid.of_cbor(node([])).raw), node([])),
        "a child of the same layer": of_nodes(
            did, node([(over, value)], Cid.of_cbor(node([(low[0], value)])).raw), node([(low[0], value)]), record
        ),
        "of version 2, real": vectors("bluesky-social/indigo/testing/testdata/divy.repo").read_bytes()[:900_000],
        "partial, real": vectors("mackuba/skyfall/spec/fixtures/attie.car").read_bytes(),
    }
    bad |= {f"cut at {at}": good[:at] for at in range(1, len(good), len(good) // 23)}
    bad |= {
        f"bent at {at}": good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :]
        for at in range(70, len(good), len(good) // 23)
    }

    async with untouched(house, alice, bobby):
        for name, car in bad.items():
            answer = await give(house, alice, car)
            assert answer.error == (400, "InvalidRequest"), (name, answer.body)
            assert len(answer.body["message"]) < 1_000, name
    assert not list((house.settings.data / "imports").iterdir())
    assert (await give(house, alice, good)).status == 200
    assert (await house.get(f"{REPO}.getRecord", repo=did, collection="com.example.note", rkey="n199")).status == 200
    assert (await house.say(alice, "after"))["commit"]


def repo_root(block: bytes, blocks: dict[bytes, bytes]) -> bytes:
    return car_bytes(Cid.of_cbor(block), {**blocks, Cid.of_cbor(block).raw: block})


async def test_what_is_at_each_limit_is_taken(house) -> None:
    alice = await house.join("alice")
    record = cbor.encode({"$type": "com.example.note"})
    value = Cid.of_cbor(record).raw
    low = low_keys(MST_NODE_ENTRIES_MAX)
    good = {
        "a record of two million bytes": tree_car(alice.did, {f"{KEY}1": bytes(COMMIT_BLOCKS_MAX)}),
        "a tree of nothing": tree_car(alice.did, {}),
    }

    for name, car in good.items():
        answer = await give(house, alice, car)
        assert answer.status == 200, (name, answer.body)
    full = prefixed([(key, value) for key in low])
    answer = await give(house, alice, of_nodes(alice.did, full, record))
    assert answer.status == 200, answer.body
    exported = await house.get(f"{SYNC}.getRepo", did=alice.did)
    _, blocks = read_car(exported.body)
    assert full in blocks.values()


async def test_an_account_moves_in_with_whatever_its_records_are(house) -> None:
    alice = await house.join("alice")
    records = {
        f"{POST}/3kaaaaaaaa{n:02}a".replace("0", "x").replace("1", "y"): block for n, block in enumerate(INVALID)
    }
    good = f"{POST}/3kzzzzzzzzzza"
    records[good] = cbor.encode(post("good"))

    given = await give(house, alice, tree_car(alice.did, records))

    assert given.status == 200, given.body
    exported = await house.get(f"{SYNC}.getRepo", did=alice.did)
    roots, blocks = read_car(exported.body)
    tree = Tree.open(decode_commit(blocks[roots[0].raw]).data, blocks.__getitem__)
    assert {path: blocks[cid.raw] for path, cid in tree.items()} == records
    for path, block in records.items():
        rkey = path.partition("/")[2]
        proof = await house.get(f"{SYNC}.getRecord", did=alice.did, collection=POST, rkey=rkey)
        assert block in read_car(proof.body)[1].values()
        answer = await house.get(f"{REPO}.getRecord", repo=alice.did, collection=POST, rkey=rkey)
        if path == good or block in SHOWN:
            assert answer.body["value"]["$type"] == POST
        else:
            assert answer.error == (400, "InvalidRecord")
    listed = await house.get(f"{REPO}.listRecords", repo=alice.did, collection=POST, limit=100)
    assert len(listed.body["records"]) == 1 + len(SHOWN)
    profile = await house.get("app.bsky.actor.getProfile", actor=alice.did)
    assert profile.body["postsCount"] == 1
    for path in records:
        gone = await house.post(
            f"{REPO}.deleteRecord", {"repo": alice.did, "collection": POST, "rkey": path.partition("/")[2]}, alice.auth
        )
        assert gone.status == 200, gone.body
    assert (await house.say(alice, "after all that"))["commit"]


def prefixed(entries: list[tuple[bytes, bytes]]) -> bytes:
    """One canonical node."""
    listed, before = [], b""
    for key, value in entries:
        same = next(
            (i for i, pair in enumerate(zip(before, key, strict=False)) if pair[0] != pair[1]),
            min(len(before), len(key)),
        )
        listed.append({"k": key[same:], "p": same, "t": None, "v": Cid(value)})
        before = key
    return cbor.encode({"e": listed, "l": None})


async def test_a_tree_of_mined_keys_is_no_deeper_than_its_work(house) -> None:
    """Each layer costs its maker a factor of four: 8 layers of keyless nodes above one key is what a minute buys."""
    alice = await house.join("alice")
    top_key = b"app.bsky.feed.post/9adeb165882c"
    height = height_of(top_key)
    assert height == 8
    record = cbor.encode(post())
    value = Cid.of_cbor(record).raw
    low = next(key for n in range(1_000) if height_of(key := f"app.bsky.feed.post/2{n}".encode()) == 0)

    def chain(layers: int) -> bytes:
        nodes = [node([(low, value)])]
        for _ in range(layers):
            nodes.append(node([], Cid.of_cbor(nodes[-1]).raw))
        top = node([(top_key, value)], Cid.of_cbor(nodes[-1]).raw)
        return of_nodes(alice.did, top, *nodes, record)

    async with untouched(house, alice):
        for layers in (height - 2, height, 100, 3_000):
            answer = await give(house, alice, chain(layers))
            assert answer.error == (400, "InvalidRequest"), layers
    taken = await give(house, alice, chain(height - 1))
    assert taken.status == 200, taken.body
    assert (await house.get(f"{REPO}.getRecord", repo=alice.did, collection=POST, rkey="9adeb165882c")).status == 200
    assert (await house.say(alice, "above all that"))["commit"]


async def test_blocks_that_nothing_refers_to_are_not_kept(house) -> None:
    alice = await house.join("alice")
    roots, blocks = read_car(tree_car(alice.did, notes(3)))
    junk = {Cid.of_cbor(data).raw: data for data in (cbor.encode({"n": n, "x": "y" * 100_000}) for n in range(50))}

    answer = await give(house, alice, car_bytes(roots[0], {**blocks, **junk}))

    assert answer.status == 200
    exported = await house.get(f"{SYNC}.getRepo", did=alice.did)
    assert not junk.keys() & read_car(exported.body)[1].keys()
    assert len(exported.body) < 10_000


async def test_an_import_that_breaks_off_leaves_nothing(house) -> None:
    alice = await house.join("alice")
    car = tree_car(alice.did, notes(500))

    async with untouched(house, alice):
        for part in (0, 10, len(car) // 2, len(car) - 1):
            await raw(house, request(IMPORT, {**alice.auth, **CAR}, car[:part], length=len(car)), end=True)
        assert (await house.post(IMPORT, data=car, headers=CAR)).error == (401, "AuthMissing")
        wrong = await house.post(IMPORT, data=car, headers={**alice.auth, "Content-Type": "application/json"})
        assert wrong.error == (400, "InvalidRequest")
    assert not list((house.settings.data / "imports").iterdir())


async def test_imports_and_writes_at_once_are_made_one_after_the_other(house) -> None:
    alice = await house.join("alice")
    cars = [tree_car(alice.did, notes(number)) for number in (1_500, 2_500)]

    async def write(number: int):
        return await house.post(
            f"{REPO}.createRecord", {"repo": alice.did, "collection": POST, "record": post(str(number))}, alice.auth
        )

    answers = await asyncio.gather(*(give(house, alice, car) for car in cars), *(write(n) for n in range(20)))

    assert [answer.status for answer in answers] == [200] * len(answers), [answer.body for answer in answers]
    exported = await house.get(f"{SYNC}.getRepo", did=alice.did)
    roots, blocks = read_car(exported.body)
    records = dict(Tree.open(decode_commit(blocks[roots[0].raw]).data, blocks.__getitem__).items())
    assert sum(path.startswith("com.example.note/") for path in records) in (1_500, 2_500)
    assert all(cid.raw in blocks for cid in records.values())


@pytest.mark.parametrize("file", ["bluesky-social/jetstream/internal/corpus/testdata/repo.car"])
async def test_a_real_repo_of_another_account_is_not_taken_for_ones_own(house, vectors, file: str) -> None:
    alice = await house.join("alice")
    car = vectors(file).read_bytes()

    async with untouched(house, alice):
        answer = await give(house, alice, car)

    assert answer.error == (400, "InvalidRequest")
    roots, blocks = read_car(car)
    signed = UnsignedCommit(
        alice.did, tid_from_micros(1_760_000_000_000_000, 1), decode_commit(blocks[roots[0].raw]).data
    )
    mine = signed.sign(PrivateKey.generate())
    assert (await give(house, alice, car_bytes(mine.cid, {**blocks, mine.cid.raw: mine.block}))).status == 200
