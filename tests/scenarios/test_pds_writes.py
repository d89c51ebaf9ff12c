"""Writes to a repo over a real log and real files."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from ingest.pds.account_files import AccountFiles
from ingest.pds.commit_build import build
from ingest.pds.head import Head
from ingest.pds.rebuild import rebuild
from ingest.pds.writes import Write, prepare
from ingest.repo.car import read_car
from ingest.repo.commit import decode_commit
from ingest.repo.frame import decode_frame
from ingest.repo.verify import Previous, verify_commit
from schemas import cbor, lexicon
from schemas.cid import Cid
from schemas.datetimes import from_micros
from schemas.errors import XrpcError
from schemas.limits import RECORD_BLOCK_MAX
from schemas.tid import TidClock
from tests.support.pds_world import POST, World, joined, key

PROFILE = "app.bsky.actor.profile"
SOME_CID = Cid.of_raw(b"nothing that is here")


@pytest.fixture
async def world(tmp_path):
    world = await World(tmp_path).open()
    yield world
    await world.close()


async def refused(awaitable) -> XrpcError:
    with pytest.raises(XrpcError) as caught:
        await awaitable
    return caught.value


async def test_a_created_record_is_read_back_listed_and_in_the_log(world):
    alice = await world.account("alice")

    applied = await world.post(alice.did, "one")

    uri = applied.results[0].uri
    view = await world.pds.get_record(alice.did, POST, uri.rkey)
    listed, _ = await world.pds.list_records("alice.test", POST)
    assert (view.uri, view.cid) == (uri, applied.results[0].cid)
    assert b'"text":"one"' in view.value
    assert [item.uri for item in listed] == [uri]
    assert world.log.head(alice.did).commit == applied.commit
    assert world.check_repo(alice.did) == [f"{POST}/{uri.rkey}"]


async def test_every_commit_is_a_firehose_frame_that_a_strict_consumer_verifies(world):
    alice = await world.account()
    head = world.log.head(alice.did)
    previous = Previous(head.rev, head.data)
    after = world.log.firehose_bounds()[1]
    await world.pds.apply_writes(alice.did, [Write("create", POST, key(i), world.record(f"{i}")) for i in range(30)])
    await world.pds.apply_writes(
        alice.did,
        [Write("update", POST, key(3), world.record("new")), *(Write("delete", POST, key(i)) for i in range(5, 20))],
    )
    await world.post(alice.did, "last", key(9))

    events = await world.log.read_firehose(after, 10)

    signing = (await world.resolver.did_document(alice.did)).signing_key
    assert [event.kind for event in events] == ["commit"] * 3
    for event in events:
        verified = verify_commit(decode_frame(event.frame()), signing, previous, world.now)
        previous = Previous(verified.entry.rev, verified.entry.data)
    assert previous.data == world.log.head(alice.did).data


async def test_a_put_of_the_same_record_makes_no_commit(world):
    alice = await world.account()
    record = world.record()
    first = await world.pds.apply_writes(alice.did, [Write("put", POST, key(0), record)])

    second = await world.pds.apply_writes(alice.did, [Write("put", POST, key(0), record)])

    assert (second.commit, second.rev) == (None, None)
    assert second.results[0].cid == first.results[0].cid
    assert world.log.head(alice.did).rev == first.rev


async def test_deleting_what_is_not_there_makes_no_commit_where_that_is_allowed(world):
    alice = await world.account()

    absent = await world.pds.apply_writes(alice.did, [Write("delete", POST, key(0), if_absent_ok=True)])
    error = await refused(world.pds.apply_writes(alice.did, [Write("delete", POST, key(0))]))

    assert absent.commit is None
    assert error.name == "InvalidRequest"


async def test_swaps_that_do_not_match_are_refused_and_change_nothing(world):
    alice = await world.account()
    made = await world.post(alice.did, "one", key(0))
    cid = made.results[0].cid
    new = world.record("two")

    wrong = [
        await refused(world.pds.apply_writes(alice.did, [Write("put", POST, key(9), new)], swap_commit=SOME_CID)),
        await refused(world.pds.apply_writes(alice.did, [Write("put", POST, key(0), new, SOME_CID)])),
        await refused(world.pds.apply_writes(alice.did, [Write("put", POST, key(0), new, None)])),
        await refused(world.pds.apply_writes(alice.did, [Write("delete", POST, key(0), None, SOME_CID)])),
    ]
    right = await world.pds.apply_writes(alice.did, [Write("put", POST, key(0), new, cid)], swap_commit=made.commit)

    assert [error.name for error in wrong] == ["InvalidSwap"] * 4
    assert right.commit is not None
    assert world.check_repo(alice.did) == [f"{POST}/{key(0)}"]


async def test_writes_of_one_call_are_all_made_or_none(world):
    alice = await world.account()
    before = world.log.head(alice.did).commit
    good = Write("create", POST, key(1), world.record())

    for bad in (
        Write("create", POST, key(2), {"$type": POST, "text": "no createdAt"}),
        Write("update", POST, key(3), world.record()),
        Write("create", POST, key(1), world.record("again")),
        Write("create", POST, "bad key", world.record()),
    ):
        await refused(world.pds.apply_writes(alice.did, [good, bad]))

    assert world.log.head(alice.did).commit == before
    assert world.check_repo(alice.did) == []


async def test_two_hundred_writes_are_one_commit_and_one_more_is_refused(world):
    alice = await world.account()
    writes = [Write("create", POST, key(i), world.record(str(i))) for i in range(201)]

    error = await refused(world.pds.apply_writes(alice.did, writes))
    applied = await world.pds.apply_writes(alice.did, writes[:200])

    assert error.message == "Too many writes. Max: 200"
    assert len(applied.results) == 200
    assert len(world.check_repo(alice.did)) == 200


async def test_a_record_at_the_size_limit_is_taken_and_one_byte_more_is_refused(world):
    alice = await world.account()

    def sized(extra: int) -> dict:
        record = {"$type": "com.example.blob", "data": b""}
        spare = RECORD_BLOCK_MAX - len(cbor.encode(record))
        # A byte string of this length has a head of 5 bytes where the empty one had 1.
        return record | {"data": bytes(spare - 4 + extra)}

    taken = await world.pds.apply_writes(alice.did, [Write("create", "com.example.blob", "k", sized(0))])
    error = await refused(world.pds.apply_writes(alice.did, [Write("create", "com.example.blob", "l", sized(1))]))

    assert len(cbor.encode(sized(0))) == RECORD_BLOCK_MAX
    assert taken.commit is not None
    assert str(RECORD_BLOCK_MAX) in error.message


async def test_a_commit_of_more_than_two_megabytes_is_refused(world):
    alice = await world.account()
    big = {"$type": "com.example.blob", "data": bytes(700_000)}
    writes = [Write("create", "com.example.blob", f"k{i}", big | {"n": i}) for i in range(3)]

    error = await refused(world.pds.apply_writes(alice.did, writes))

    assert error.name == "InvalidRequest"
    assert (await world.pds.apply_writes(alice.did, writes[:2])).commit is not None


@pytest.mark.parametrize(
    ("validate", "collection", "record", "outcome"),
    [
        (None, POST, {"text": "x", "createdAt": "2024-01-01T00:00:00Z"}, "valid"),
        (None, "com.example.thing", {"a": 1}, "unknown"),
        (False, POST, {"nonsense": True}, None),
        (False, "com.example.thing", {"a": 1}, None),
        (True, POST, {"text": "x", "createdAt": "2024-01-01T00:00:00Z"}, "valid"),
        (True, "com.example.thing", {"a": 1}, "refused"),
        (True, POST, {"text": "x"}, "refused"),
        (None, POST, {"text": "x"}, "refused"),
        (False, POST, {"$type": "app.bsky.feed.like"}, "refused"),
    ],
)
async def test_validation_is_as_asked_for(world, validate, collection, record, outcome):
    alice = await world.account()

    write = world.pds.apply_writes(alice.did, [Write("create", collection, "3l6q3w5xaaa2a", record)], validate=validate)

    if outcome == "refused":
        assert (await refused(write)).name == "InvalidRequest"
    else:
        assert (await write).results[0].status == outcome


async def test_a_literal_key_is_chosen_and_demanded(world):
    alice = await world.account()

    made = await world.pds.apply_writes(alice.did, [Write("create", PROFILE, None, {"displayName": "A"})])
    error = await refused(world.pds.apply_writes(alice.did, [Write("create", PROFILE, "other", {"displayName": "A"})]))

    assert made.results[0].uri.rkey == "self"
    assert "self" in error.message


async def test_concurrent_writes_of_one_account_make_one_chain(world):
    alice = await world.account()

    await asyncio.gather(*(world.post(alice.did, str(i)) for i in range(50)))

    commits = [entry for _, entry in await world.log.read_commits(0, 0, 1000) if hasattr(entry, "prev_data")]
    assert len(commits) == 51
    assert all(later.prev_data == earlier.data for earlier, later in itertools.pairwise(commits))
    assert all(later.rev > earlier.rev for earlier, later in itertools.pairwise(commits))
    assert len(world.check_repo(alice.did)) == 50


async def test_revs_rise_when_the_clock_goes_back(world):
    alice = await world.account()
    first = await world.post(alice.did)
    world.now -= 60_000_000

    second = await world.post(alice.did)

    assert second.rev > first.rev


async def test_a_rev_four_minutes_ahead_of_the_clock_is_answered_with_503(world):
    alice = await world.account()
    await world.post(alice.did)
    world.now -= 239_000_000
    near = await world.post(alice.did)
    world.now -= 3_000_000

    error = await refused(world.post(alice.did))

    assert near.commit is not None
    assert error.status == 503


async def test_a_client_that_leaves_does_not_undo_its_write(world):
    alice = await world.account()
    before = world.log.head(alice.did).commit

    leaving = asyncio.create_task(world.post(alice.did, "left", key(0)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    after = await world.post(alice.did, "next", key(1))

    assert world.log.head(alice.did).commit == after.commit != before
    assert world.check_repo(alice.did) == [f"{POST}/{key(i)}" for i in (0, 1)]


async def test_listing_pages_both_ways_without_gap_or_repeat(world):
    alice = await world.account()
    await world.pds.apply_writes(alice.did, [Write("create", POST, key(i), world.record()) for i in range(25)])
    await world.pds.apply_writes(alice.did, [Write("create", "app.bsky.feed.poster", "k50", {"a": 1})])

    for reverse in (False, True):
        seen, cursor = [], None
        while True:
            page, cursor = await world.pds.list_records(alice.did, POST, limit=7, cursor=cursor, reverse=reverse)
            if not page:
                break
            seen += [view.uri.rkey for view in page]
        assert seen == sorted((key(i) for i in range(25)), reverse=not reverse)


async def test_an_export_is_a_car_whose_tree_holds_every_record(world):
    alice = await world.account()
    for i in range(40):
        await world.post(alice.did, str(i))
    since = (await world.post(alice.did, "since")).rev
    await world.post(alice.did, "after")

    roots, blocks = read_car(await joined(await world.pds.sync.repo_car(alice.did)))
    _, newer = read_car(await joined(await world.pds.sync.repo_car(alice.did, since)))

    commit = decode_commit(blocks[roots[0].raw])
    known = world.log.head(alice.did)
    assert roots[0] == known.commit
    assert commit.data == known.data
    texts = [cbor.decode(block).get("text") for block in blocks.values()]
    assert {str(i) for i in range(40)} <= set(texts)
    assert "after" in [cbor.decode(block).get("text") for block in newer.values()]
    assert len(newer) < len(blocks)


async def test_an_empty_repo_exports_and_proves_absence(world):
    alice = await world.account()

    roots, blocks = read_car(await joined(await world.pds.sync.repo_car(alice.did)))
    _, proof = read_car(await world.pds.sync.record_proof(alice.did, POST, "absent"))

    assert decode_commit(blocks[roots[0].raw]).data.raw in blocks
    assert roots[0].raw in proof


async def test_blocks_are_found_before_and_after_a_flush(world):
    alice = await world.account()
    applied = await world.post(alice.did)
    known = world.log.head(alice.did)
    wanted = [applied.results[0].cid, known.commit, known.data, SOME_CID]

    fresh, missing = await world.pds.sync.blocks(alice.did, wanted)
    await world.pds._parts.heads.flush_all()
    flushed, missing_still = await world.pds.sync.blocks(alice.did, wanted)

    assert fresh == flushed
    assert missing == missing_still == [SOME_CID]
    assert len(read_car(fresh)[1]) == 3


async def intrude(world, did, rkey) -> None:
    """What another owner of the account would do: a good commit by its key, past this PDS."""
    files = AccountFiles(world.directory / "other", 4)
    await rebuild(did, files, world.log)
    head = Head(did, files)
    clock = TidClock(3, world.clock)
    prepared = prepare(Write("create", POST, rkey, world.record("theirs")), lexicon.load(), clock)
    signing = world.pds._parts.accounts.get(did).key
    built = build(head, signing, clock.next(head.root.rev), [prepared], from_micros(world.now))
    await world.log.append(built.entry)
    files.close()


async def test_another_writer_of_the_account_closes_it_until_it_is_read_back(world):
    alice = await world.account()
    await world.post(alice.did, "ours", key(1))
    await intrude(world, alice.did, key(2))

    error = await refused(world.post(alice.did, "lost", key(3)))
    await world.post(alice.did, "after", key(4))

    assert error.status == 503
    assert world.pds._parts.writer.rejections == 1
    assert world.check_repo(alice.did) == [f"{POST}/{key(i)}" for i in (1, 2, 4)]
    listed, _ = await world.pds.list_records(alice.did, POST)
    assert [view.uri.rkey for view in listed] == [key(4), key(2), key(1)]
