"""Files of frames and CARs into a real log: real relay frames, and every way a file can be broken."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import orjson
import pytest

from headrace.commands.ingest_car import feed_car
from headrace.commands.ingest_frames import FrameFeed, frames
from headrace.did_docs import DidDocs
from ingest.log_sqlite.log import SqliteLog
from ingest.repo.car import write_car
from ingest.repo.commit import UnsignedCommit
from ingest.repo.keys import PrivateKey
from ingest.repo.mst import Tree
from schemas import cbor, data
from schemas.cid import Cid
from schemas.entries import Commit
from schemas.errors import Refused
from schemas.syntax import Did
from schemas.tid import Tid

CORPUS = "bluesky-social/jetstream/internal/corpus/testdata"


async def pieces(data: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    opened = await SqliteLog.open(tmp_path / "log.sqlite")
    yield opened
    await opened.close()


def nobody(_: str) -> bool:
    return False


async def test_every_real_frame_enters_as_the_production_jetstream_read_it(
    log: SqliteLog, vectors: Callable[[str], Path]
) -> None:
    docs = DidDocs.parse(vectors(f"{CORPUS}/did_docs.json").read_bytes())
    file = vectors(f"{CORPUS}/frames.bin").read_bytes()
    expected = [orjson.loads(line) for line in vectors(f"{CORPUS}/expected_v1.jsonl").read_bytes().splitlines()]

    outcomes = await FrameFeed(log, docs, nobody).run(pieces(file))

    assert outcomes.summary() == {
        "unit": "frames",
        "accepted": 80,
        "refused": 0,
        "ignored": 0,
        "reasons": {},
        "examples": [],
    }
    wanted = {
        (line["did"], line["commit"]["rev"], f"{line['commit']['collection']}/{line['commit']['rkey']}"): line["commit"]
        for line in expected
        if line["kind"] == "commit"
    }
    found = {
        (entry.did, entry.rev, op.path): op
        for _, entry in await log.read_commits(0, 0, 1000)
        if isinstance(entry, Commit)
        for op in entry.ops
    }
    assert found.keys() == wanted.keys()
    assert len(found) > 50
    for key, op in found.items():
        line = wanted[key]
        assert op.action == line["operation"]
        if op.record is not None:
            assert str(op.cid) == line["cid"]
            assert orjson.loads(data.cbor_to_json(op.record)) == line["record"]


async def test_the_same_file_again_changes_nothing(log: SqliteLog, vectors: Callable[[str], Path]) -> None:
    docs = DidDocs.parse(vectors(f"{CORPUS}/did_docs.json").read_bytes())
    file = vectors(f"{CORPUS}/frames.bin").read_bytes()
    first = await FrameFeed(log, docs, nobody).run(pieces(file))
    end = log.records_end(0)

    again = await FrameFeed(log, docs, nobody).run(pieces(file, size=7))

    assert first.accepted == 80
    assert again.accepted + sum(again.reasons.values()) == 80
    assert sum(again.reasons.values()) > 50
    heads = {entry.did for _, entry in await log.read_commits(0, 0, 1000) if isinstance(entry, Commit)}
    assert heads
    records = [entry for entry in await log.read_records(0, end, 1000) if hasattr(entry, "value")]
    assert records == []


async def test_a_flipped_bit_is_refused_with_its_reason(log: SqliteLog, vectors: Callable[[str], Path]) -> None:
    docs = DidDocs.parse(vectors(f"{CORPUS}/did_docs.json").read_bytes())
    file = bytearray(vectors(f"{CORPUS}/frames.bin").read_bytes())
    size = int.from_bytes(file[:4], "little")
    file[4 + size - 120] ^= 1

    outcomes = await FrameFeed(log, docs, nobody).run(pieces(bytes(file[: 4 + size])))

    assert outcomes.accepted == 0
    assert sum(outcomes.reasons.values()) == 1
    assert log.records_end(0) == 0


async def test_a_file_that_ends_in_the_middle_keeps_what_was_whole(
    log: SqliteLog, vectors: Callable[[str], Path]
) -> None:
    docs = DidDocs.parse(vectors(f"{CORPUS}/did_docs.json").read_bytes())
    file = vectors(f"{CORPUS}/frames.bin").read_bytes()

    outcomes = await FrameFeed(log, docs, nobody).run(pieces(file[:-10]))

    assert outcomes.accepted == 79
    assert dict(outcomes.reasons) == {"file_truncated": 1}


async def test_an_account_of_our_own_is_written_by_its_pds_alone(
    log: SqliteLog, vectors: Callable[[str], Path]
) -> None:
    docs = DidDocs.parse(vectors(f"{CORPUS}/did_docs.json").read_bytes())

    outcomes = await FrameFeed(log, docs, lambda _: True).run(pieces(vectors(f"{CORPUS}/frames.bin").read_bytes()))

    assert dict(outcomes.reasons) == {"hosted_here": 80}


async def test_an_account_without_a_document_does_not_enter(log: SqliteLog, vectors: Callable[[str], Path]) -> None:
    outcomes = await FrameFeed(log, DidDocs({}), nobody).run(pieces(vectors(f"{CORPUS}/frames.bin").read_bytes()))

    assert outcomes.reasons["did_not_found"] > 50


async def test_a_frame_longer_than_the_limit_is_not_read() -> None:
    with pytest.raises(Refused, match="frame_size"):
        [frame async for frame in frames(pieces((5_000_001).to_bytes(4, "little") + b"x"))]


async def test_a_real_repo_imports_record_by_record(log: SqliteLog, vectors: Callable[[str], Path]) -> None:
    file = vectors(f"{CORPUS}/repo.car").read_bytes()
    lines = vectors(f"{CORPUS}/car_expected_records.tsv").read_text().splitlines()
    expected = dict(line.split("\t")[:2] for line in lines)

    outcomes = await feed_car(log, DidDocs({}), nobody, pieces(file, 1000), trust_signature=True)

    did = outcomes.more["did"]
    assert outcomes.accepted == len(expected) > 10
    assert outcomes.more["signature"] == "not checked"
    assert {path: str(log.record(did, path)[0]) for path in log.paths(did)} == expected
    again = await feed_car(log, DidDocs({}), nobody, pieces(file), trust_signature=True)
    assert (again.accepted, again.more["unchanged"]) == (0, len(expected))


async def test_a_repo_whose_account_does_not_resolve_is_refused(log: SqliteLog, vectors: Callable[[str], Path]) -> None:
    with pytest.raises(Refused, match="did_not_found"):
        await feed_car(log, DidDocs({}), nobody, pieces(vectors(f"{CORPUS}/repo.car").read_bytes()))

    assert log.records_end(0) == 0


def repo_of(key: PrivateKey, texts: list[str]) -> tuple[Did, dict, bytes]:
    """(DID, its document, CAR) of a small repo."""
    did = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
    blocks: dict[bytes, bytes] = {}
    tree = Tree.empty(blocks.__getitem__)
    for number, text in enumerate(texts):
        record = cbor.encode({"$type": "com.example.note", "text": text})
        cid = Cid.of_cbor(record)
        blocks[cid.raw] = record
        tree.put(f"com.example.note/n{number}", cid)
    root, nodes = tree.write()
    blocks |= nodes
    signed = UnsignedCommit(did, Tid(f"3kaaaaaaaaa{len(texts) + 2}2"), root).sign(key)
    blocks[signed.cid.raw] = signed.block
    document = {
        "id": did,
        "alsoKnownAs": ["at://alice.example.com"],
        "verificationMethod": [
            {"id": f"{did}#atproto", "type": "Multikey", "controller": did, "publicKeyMultibase": key.public.multikey}
        ],
    }
    return did, {did: document}, b"".join(write_car([signed.cid], blocks))


async def test_a_newer_repo_replaces_what_differs(log: SqliteLog) -> None:
    key = PrivateKey.generate("p256")
    did, docs, old = repo_of(key, ["one", "two"])
    _, _, new = repo_of(key, ["one", "other", "three"])

    first = await feed_car(log, DidDocs(docs), nobody, pieces(old), trust_handles=True)
    second = await feed_car(log, DidDocs(docs), nobody, pieces(new), trust_handles=True)
    stale = await feed_car(log, DidDocs(docs), nobody, pieces(old))

    assert (first.accepted, first.more["signature"]) == (2, "verified")
    assert (second.accepted, second.more["unchanged"]) == (2, 1)
    assert [cbor.decode(log.record(did, path)[1])["text"] for path in log.paths(did)] == ["one", "other", "three"]
    assert log.head(did).handle == "alice.example.com"
    assert dict(stale.reasons) == {"stale_rev": 1}


async def test_a_repo_signed_by_another_key_is_refused(log: SqliteLog) -> None:
    _, docs, _ = repo_of(PrivateKey.generate("k256"), ["one"])
    _, _, forged = repo_of(PrivateKey.generate("k256"), ["one"])

    with pytest.raises(Refused, match="signature"):
        await feed_car(log, DidDocs(docs), nobody, pieces(forged))

    assert log.records_end(0) == 0


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("bluesky-social/indigo/testing/testdata/repo_slice.car", "commit_version"),
        ("bluesky-social/indigo/testing/testdata/fakermaker.repo.car", "commit_version"),
        ("mackuba/skyfall/spec/fixtures/attie.car", "missing_block"),
    ],
)
async def test_old_and_partial_repos_are_refused_whole(
    log: SqliteLog, vectors: Callable[[str], Path], file: str, reason: str
) -> None:
    with pytest.raises(Refused, match=reason):
        await feed_car(log, DidDocs({}), nobody, pieces(vectors(file).read_bytes()), trust_signature=True)

    assert log.records_end(0) == 0


async def test_a_truncated_repo_is_refused_whole(log: SqliteLog, vectors: Callable[[str], Path]) -> None:
    file = vectors(f"{CORPUS}/repo.car").read_bytes()

    with pytest.raises(Refused, match="car_truncated"):
        await feed_car(log, DidDocs({}), nobody, pieces(file[:-5]), trust_signature=True)
