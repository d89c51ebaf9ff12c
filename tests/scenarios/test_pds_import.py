"""Whole repos from CARs: what a migration brings, refused whole when it does not hold."""

from __future__ import annotations

import pytest

from ingest.pds.writes import Write
from ingest.repo.car import car_bytes, read_car, write_car
from ingest.repo.commit import UnsignedCommit, decode_commit
from ingest.repo.keys import PrivateKey
from ingest.repo.mst import Tree
from schemas import cbor
from schemas.cid import Cid
from schemas.entries import Account, Diff, Sync
from schemas.errors import XrpcError
from schemas.syntax import Did
from schemas.tid import tid_from_micros
from tests.support.pds_world import PASSWORD, POST, START, World, joined, key, pieces

REAL = (
    "bluesky-social/indigo/testing/testdata/greenground.repo.car",
    "bluesky-social/indigo/atproto/repo/testdata/bnewbold.robocracy.org.20250310005405.car",
    "blacksky-algorithms/rsky/rsky-repo/resources/test/valid_repo.car",
    "bluesky-social/jetstream/internal/corpus/testdata/repo.car",
)


@pytest.fixture
async def world(tmp_path):
    world = await World(tmp_path).open()
    yield world
    await world.close()


async def refused(awaitable) -> XrpcError:
    with pytest.raises(XrpcError) as caught:
        await awaitable
    return caught.value


def repo_car(did: str, records: dict[str, dict], rev: int = START, *, drop: str | None = None) -> bytes:
    """A repo as another PDS would export it, signed by a key that nobody here knows."""
    tree = Tree.empty()
    blocks: dict[bytes, bytes] = {}
    for path, record in records.items():
        block = cbor.encode(record)
        cid = Cid.of_cbor(block)
        tree.put(path, cid)
        if path != drop:
            blocks[cid.raw] = block
    data, nodes = tree.write()
    signed = UnsignedCommit(Did(did), tid_from_micros(rev, 0), data).sign(PrivateKey.generate())
    return car_bytes(signed.cid, {signed.cid.raw: signed.block, **nodes, **blocks})


async def moved_in(world, did: Did, name: str = "mover") -> Did:
    await world.pds.create_account(
        handle=f"{name}.test", email=f"{name}@example.com", password=PASSWORD, did=did, requester=did
    )
    return did


async def test_a_migration_brings_every_record_and_goes_on_under_a_higher_rev(world):
    did = await moved_in(world, Did("did:plc:" + "m" * 24))
    records = {f"{POST}/{key(n)}": world.record(str(n)) for n in range(3000)}
    car = repo_car(did, records, START + 10_000_000)

    await world.pds.import_repo(did, pieces(car))

    known = world.log.head(did)
    status = await world.pds.check_account_status(did)
    exported, _ = read_car(await joined(await world.pds.sync.repo_car(did, as_owner=True)))
    assert known.data == decode_commit(read_car(car)[1][read_car(car)[0][0].raw]).data
    assert known.rev > tid_from_micros(START + 10_000_000, 0)
    assert status.counts.records == 3000
    assert exported[0] == known.commit
    assert sorted(world.check_repo(did)) == sorted(records)
    assert [event.kind for event in await world.log.read_firehose(0, 10)] == ["account"]
    chunks = [entry for _, entry in await world.log.read_commits(0, 0, 100) if isinstance(entry, Diff)]
    assert len(chunks) == 1 + 3


async def test_an_import_into_a_living_repo_makes_it_what_the_car_says_and_announces_it(world):
    alice = await world.account("alice")
    for n in (1, 2, 3):
        await world.post(alice.did, str(n), key(n))
    kept = await world.pds.get_record(alice.did, POST, key(1))
    records = {f"{POST}/{key(1)}": cbor.decode(world.log.record(alice.did, f"{POST}/{key(1)}")[1])}
    records |= {f"{POST}/{key(2)}": world.record("changed"), f"{POST}/{key(9)}": world.record("new")}

    await world.pds.import_repo(alice.did, pieces(repo_car(alice.did, records)))

    last = (await world.log.read_commits(0, 0, 100))[-1][1]
    assert isinstance(last, Sync)
    assert last.rev == world.log.head(alice.did).rev
    assert world.check_repo(alice.did) == sorted(records)
    assert (await world.pds.get_record(alice.did, POST, key(1))).value == kept.value
    assert b"changed" in (await world.pds.get_record(alice.did, POST, key(2))).value
    assert (await world.post(alice.did, "after")).commit is not None


async def test_an_import_over_a_partial_repo_of_the_relay_makes_it_whole(world):
    did = Did("did:plc:" + "p" * 24)
    tree = Tree.empty()
    old = cbor.encode(world.record("seen by the relay"))
    tree.put(f"{POST}/{key(1)}", Cid.of_cbor(old))
    data, _ = tree.write()
    rev = tid_from_micros(START, 1)
    signed = UnsignedCommit(did, rev, data).sign(PrivateKey.generate())
    await world.log.append(Account(did, "active"))
    await world.log.append(Sync(did, rev, signed.cid, data, b"", car_bytes(signed.cid, {signed.cid.raw: signed.block})))
    assert world.log.head(did).partial
    await moved_in(world, did)
    records = {f"{POST}/{key(n)}": world.record(str(n)) for n in (1, 2, 3)}

    await world.pds.import_repo(did, pieces(repo_car(did, records)))

    assert not world.log.head(did).partial
    assert world.check_repo(did) == sorted(records)


@pytest.mark.parametrize("file", REAL)
async def test_a_real_repo_imports_and_every_record_reads_back(world, vectors, file):
    car = vectors(file).read_bytes()
    roots, blocks = read_car(car)
    commit = decode_commit(blocks[roots[0].raw])
    records = dict(Tree.open(commit.data, blocks.__getitem__).items())
    did = await moved_in(world, commit.did)

    await world.pds.import_repo(did, pieces(car))
    missing, _ = await world.pds.list_missing_blobs(did, limit=1000)
    status = await world.pds.check_account_status(did)
    for path, cid in records.items():
        stored = (await world.pds._parts.heads.get(did)).record(path)
        assert (stored.cid, stored.value) == (cid, blocks[cid.raw])

    assert records
    assert world.log.head(did).data == commit.data
    assert status.counts.expected_blobs == len(missing)


async def test_missing_blobs_are_listed_until_they_are_uploaded(world):
    did = await moved_in(world, Did("did:plc:" + "b" * 24))
    data = [b"\x89PNG\r\n\x1a\n" + bytes([n]) for n in range(5)]
    shown = [{"$type": "blob", "ref": Cid.of_raw(d), "mimeType": "image/png", "size": len(d)} for d in data]
    records = {
        f"{POST}/{key(n)}": world.record(
            embed={"$type": "app.bsky.embed.images", "images": [{"image": blob, "alt": ""}]}
        )
        for n, blob in enumerate(shown)
    }
    await world.pds.import_repo(did, pieces(repo_car(did, records)))

    first, cursor = await world.pds.list_missing_blobs(did, limit=2)
    rest, _ = await world.pds.list_missing_blobs(did, limit=10, cursor=cursor)
    for item in data[:4]:
        await world.pds.upload_blob(did, pieces(item), "image/png")
    left, _ = await world.pds.list_missing_blobs(did)

    assert sorted(blob.cid for blob in (*first, *rest)) == sorted(blob["ref"] for blob in shown)
    assert [(blob.cid, blob.uri) for blob in left] == [(shown[4]["ref"], f"at://{did}/{POST}/{key(4)}")]
    world.now += 7200 * 1_000_000
    assert await world.pds._parts.blobs.collect() == 0


async def test_a_car_that_does_not_hold_is_refused_and_changes_nothing(world, vectors):
    alice = await world.account("alice")
    await world.post(alice.did, "kept", key(1))
    before = world.log.head(alice.did).commit
    records = {f"{POST}/{key(n)}": world.record(str(n)) for n in range(50)}
    good = repo_car(alice.did, records)
    roots, blocks = read_car(good)
    no_root = b"".join(write_car((Cid.of_cbor(b"x"),), blocks))
    no_node = dict(blocks)
    del no_node[decode_commit(blocks[roots[0].raw]).data.raw]

    bad = {
        "empty": b"",
        "noise": b"\x00" * 1000,
        "truncated": good[:-10],
        "flipped": good[:-3] + bytes([good[-3] ^ 1]) + good[-2:],
        "another's": repo_car("did:plc:" + "x" * 24, records),
        "without its root": no_root,
        "without a node": car_bytes(roots[0], no_node),
        "without a record": repo_car(alice.did, records, drop=f"{POST}/{key(7)}"),
        "of an impossible path": repo_car(alice.did, {"nonsense/" + key(1): world.record()}),
        "of version 2": vectors("bluesky-social/indigo/testing/testdata/divy.repo").read_bytes(),
        "partial": vectors("mackuba/skyfall").rglob("*.car").__next__().read_bytes(),
    }
    errors = {name: await refused(world.pds.import_repo(alice.did, pieces(car))) for name, car in bad.items()}

    assert {error.name for error in errors.values()} == {"InvalidRequest"}
    assert world.log.head(alice.did).commit == before
    assert world.check_repo(alice.did) == [f"{POST}/{key(1)}"]
    assert list((world.directory / "imports").iterdir()) == []
    assert (await world.post(alice.did)).commit is not None


async def test_a_car_over_the_limit_is_refused(tmp_path):
    world = await World(tmp_path, {"import_limit": 2000}).open()
    alice = await world.account("alice")
    car = repo_car(alice.did, {f"{POST}/{key(n)}": world.record(str(n)) for n in range(50)})

    error = await refused(world.pds.import_repo(alice.did, pieces(car)))

    assert len(car) > 2000
    assert "2000" in error.message
    await world.close()


async def test_an_exported_repo_imports_elsewhere_with_the_same_root(world, tmp_path):
    alice = await world.account("alice")
    await world.pds.apply_writes(alice.did, [Write("create", POST, key(n), world.record(str(n))) for n in range(120)])
    car = await joined(await world.pds.sync.repo_car(alice.did))
    elsewhere = await World(tmp_path / "elsewhere").open()
    did = await moved_in(elsewhere, alice.did)

    await elsewhere.pds.import_repo(did, pieces(car, 1000))

    assert elsewhere.log.head(did).data == world.log.head(alice.did).data
    assert elsewhere.check_repo(did) == world.check_repo(alice.did)
    await elsewhere.close()
