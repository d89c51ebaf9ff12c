"""Verified is not valid, end to end: what is no record in others' repos enters, is kept, and makes no rows."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from headrace.commands.ingest_car import feed_car
from headrace.commands.ingest_frames import FrameFeed
from headrace.did_docs import DidDocs
from ingest.log_sqlite.log import SqliteLog
from ingest.repo.car import car_bytes
from ingest.repo.mst import Tree
from processors.run_embedded import EmbeddedRunner
from schemas import cbor
from schemas.cid import Cid
from schemas.entries import RecordEntry
from tests.support.invalid_blocks import INVALID_BLOCKS
from tests.unit.repo.world import NOW, POST, Account, Made, path, record
from views import ALL, posts, records
from views.store_sqlite import SqliteStore

LATER = NOW + 3_600_000_000
BLOCKS = {path(n): block for n, block in enumerate(INVALID_BLOCKS.values())}
GOOD = {path(900 + n): record(f"good {n}") for n in range(3)}


@pytest.fixture
async def log(tmp_path) -> AsyncIterator[SqliteLog]:
    opened = await SqliteLog.open(tmp_path / "log.sqlite", now=lambda: LATER)
    yield opened
    await opened.close()


@pytest.fixture
async def store(tmp_path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "views.sqlite", [view.table for view in ALL])
    yield made
    await made.close()


@pytest.fixture
async def runner(log, store) -> AsyncIterator[EmbeddedRunner]:
    runner = EmbeddedRunner(log, store, ALL)
    await runner.start()
    yield runner
    await runner.stop()


def docs(account: Account) -> DidDocs:
    method = {
        "id": f"{account.did}#atproto",
        "type": "Multikey",
        "controller": account.did,
        "publicKeyMultibase": account.key.public.did_key.removeprefix("did:key:"),
    }
    return DidDocs({str(account.did): {"id": str(account.did), "verificationMethod": [method]}})


async def framed(*commits: Made) -> AsyncIterator[bytes]:
    for seq, made in enumerate(commits, 1):
        frame = made.frame(seq)
        yield len(frame).to_bytes(4, "little") + frame


async def whole(car: bytes) -> AsyncIterator[bytes]:
    yield car


def repo(account: Account, made: Made, blocks: dict[str, bytes]) -> bytes:
    tree = Tree.empty()
    for key, cid in account.records.items():
        tree.put(key, cid)
    held = {Cid.of_cbor(block).raw: block for block in blocks.values()}
    return car_bytes(made.signed.cid, {made.signed.cid.raw: made.signed.block} | tree.write()[1] | held)


def hosted(_: str) -> bool:
    return False


async def kept(log: SqliteLog, did: str, blocks: dict[str, bytes]) -> None:
    """The log has these bytes, in its index and in what readers follow."""
    assert {name: log.record(did, name)[1] for name in blocks} == blocks
    entries = [entry for entry in await log.read_records(0, 0, 10_000) if isinstance(entry, RecordEntry)]
    assert {f"{entry.collection}/{entry.rkey}": entry.value for entry in entries if entry.value is not None} == blocks


async def test_frames_enter_whole_and_the_account_goes_on(log, runner, store) -> None:
    account = Account()
    large = {name: block for name, block in BLOCKS.items() if len(block) > 500_000}
    small = {name: block for name, block in BLOCKS.items() if name not in large}
    commits = [account.commit({**small, **GOOD}), *(account.commit({name: block}) for name, block in large.items())]
    assert len(large) == 2

    outcomes = await FrameFeed(log, docs(account), hosted, now=lambda: LATER).run(framed(*commits))

    assert (outcomes.accepted, outcomes.reasons) == (len(commits), {})
    await kept(log, account.did, {**BLOCKS, **GOOD})
    await runner.process_all()
    assert sum(runner.decoder.invalid.values()) == len(BLOCKS)
    assert {"record_no_map", "cbor_float", "cbor_depth", "cbor_size", "cbor_form"} <= runner.decoder.invalid.keys()
    keys = [(f"at://{account.did}/{name}",) for name in (*BLOCKS, *GOOD)]
    found = [row is not None for row in await store.get_many(posts.TABLE, keys)]
    assert found == [False] * len(BLOCKS) + [True] * len(GOOD)
    rows = await store.slice(records.TABLE, (account.did, POST), limit=100)
    said = {f"{POST}/{row[2]}": row[records.TABLE.index("bytes")] for row in rows}
    assert said == {**BLOCKS, **GOOD}

    # What was never valid is mended, and what was is spoilt; rows follow.
    spoilt, mended = next(iter(GOOD)), next(iter(BLOCKS))
    more = [account.commit({spoilt: b"\x80", mended: record("mended")}), account.commit(dict.fromkeys(BLOCKS))]
    outcomes = await FrameFeed(log, docs(account), hosted, now=lambda: LATER).run(framed(*more))
    assert outcomes.accepted == 2
    await runner.process_all()
    left = await store.get_many(posts.TABLE, [(f"at://{account.did}/{name}",) for name in GOOD])
    assert [row is not None for row in left] == [False, True, True]


async def test_a_repo_s_car_brings_the_same_and_frames_follow_it(log) -> None:
    account = Account()
    blocks = {**BLOCKS, **GOOD}
    made = account.commit(blocks)

    outcomes = await feed_car(log, docs(account), hosted, whole(repo(account, made, blocks)), now=lambda: LATER)

    assert (outcomes.accepted, outcomes.reasons) == (len(blocks), {})
    await kept(log, account.did, blocks)
    after = account.commit({path(2_000): cbor.encode({"$type": POST, "text": 7})})
    outcomes = await FrameFeed(log, docs(account), hosted, now=lambda: LATER).run(framed(after))
    assert outcomes.accepted == 1
