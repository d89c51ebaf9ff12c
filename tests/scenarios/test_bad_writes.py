"""Writes that may not be made: refused by name, and neither the repo nor the log has changed."""

from __future__ import annotations

import io
from typing import Any

import orjson

from ingest.repo.frame import decode_frame
from ingest.repo.messages import CommitMessage
from schemas import cbor
from schemas.limits import (
    APPLY_WRITES_MAX,
    CBOR_CONTAINERS_MAX,
    COMMIT_BLOCKS_MAX,
    LABEL_VALUE_MAX,
    NSID_MAX,
    RECORD_BLOCK_MAX,
    RKEY_MAX,
)
from tests.support.hostile import POST, REPO, frames, post, record_of, untouched

NOTE = "com.example.note"
OTHER_CID = "bafyreiapzyf65cmq55jklpnrihiygze2jmmdqvvkwqeiomd72pbp2iazuu"


def creates(records: dict[str, dict[str, Any]], collection: str = NOTE) -> list[dict[str, Any]]:
    kind = f"{REPO}.applyWrites#create"
    return [{"$type": kind, "collection": collection, "rkey": key, "value": value} for key, value in records.items()]


async def apply(house, member, writes: list[dict[str, Any]], **more: Any):
    return await house.post(f"{REPO}.applyWrites", {"repo": member.did, "writes": writes, **more}, member.auth)


async def create(house, member, record: Any, **more: Any):
    body = {"repo": member.did, "collection": record["$type"], "record": record, **more}
    return await house.post(f"{REPO}.createRecord", body, member.auth)


async def test_swaps_that_do_not_match_are_refused(house) -> None:
    alice = await house.join("alice")
    first = (await create(house, alice, post(), rkey="3kaaaaaaaaa2a")).body
    where = {"repo": alice.did, "collection": POST, "rkey": "3kaaaaaaaaa2a"}
    changed = {**where, "record": post("changed")}

    async with untouched(house, alice):
        answers = [
            await house.post(f"{REPO}.putRecord", {**changed, "swapRecord": OTHER_CID}, alice.auth),
            await house.post(f"{REPO}.putRecord", {**changed, "swapRecord": None}, alice.auth),
            await house.post(f"{REPO}.putRecord", {**changed, "swapCommit": OTHER_CID}, alice.auth),
            await house.post(f"{REPO}.deleteRecord", {**where, "swapRecord": OTHER_CID}, alice.auth),
            await house.post(f"{REPO}.deleteRecord", {**where, "swapCommit": OTHER_CID}, alice.auth),
            await create(house, alice, post(), swapCommit=OTHER_CID),
            await apply(house, alice, creates({"x": {}}), swapCommit=OTHER_CID),
        ]
        garbage = await house.post(f"{REPO}.putRecord", {**changed, "swapRecord": "nonsense"}, alice.auth)

    assert [answer.error for answer in answers] == [(400, "InvalidSwap")] * len(answers)
    assert garbage.error == (400, "InvalidRequest")
    commit = first["commit"]["cid"]
    good = await house.post(
        f"{REPO}.putRecord", {**changed, "swapRecord": first["cid"], "swapCommit": commit}, alice.auth
    )
    assert good.status == 200


async def test_two_hundred_writes_are_one_commit_and_one_more_is_none(house) -> None:
    alice = await house.join("alice")
    many = creates({f"n{number}": {} for number in range(APPLY_WRITES_MAX)})

    async with untouched(house, alice):
        refused = await apply(house, alice, [*many, *creates({"more": {}})])
    taken = await apply(house, alice, many)

    assert refused.error == (400, "InvalidRequest")
    assert len(taken.body["results"]) == APPLY_WRITES_MAX
    last = decode_frame((await frames(house, 4))[-1])
    assert isinstance(last, CommitMessage)
    assert len(last.ops) == APPLY_WRITES_MAX
    async with untouched(house, alice):
        assert (await apply(house, alice, [])).error == (400, "InvalidRequest")


async def test_writes_of_which_one_is_bad_are_not_made_at_all(house) -> None:
    alice = await house.join("alice")
    await apply(house, alice, creates({"here": {}}))
    kind = f"{REPO}.applyWrites"
    missing = {"collection": NOTE, "rkey": "missing"}
    bad = {
        "exists": creates({"here": {}}),
        "twice": creates({"new": {}}) + creates({"new": {"x": 1}}),
        "update of nothing": [{"$type": f"{kind}#update", **missing, "value": {}}],
        "delete of nothing": [{"$type": f"{kind}#delete", **missing}],
        "an unknown action": [{"$type": f"{kind}#upsert", **missing, "value": {}}],
        "no action": [{**missing, "value": {}}],
        "a broken lexicon": creates({"3kaaaaaaaaa2a": post(langs=7)}, POST),
        "another $type": creates({"x": {"$type": "com.example.other"}}),
        "a key with a space": creates({"a key": {}}),
        "a record too large": creates({"big": record_of(RECORD_BLOCK_MAX + 1)}, "com.example.big"),
        "a blob that is not there": creates(
            {"x": {"f": {"$type": "blob", "ref": {"$link": OTHER_CID}, "mimeType": "image/png", "size": 1}}}
        ),
    }

    async with untouched(house, alice):
        for name, last in bad.items():
            answer = await apply(house, alice, creates({f"good{number}": {} for number in range(20)}) + last)
            assert answer.status == 400, name
            assert answer.body["error"] in ("InvalidRequest", "BlobNotFound"), (name, answer.body)


async def test_a_record_of_a_million_bytes_is_taken_and_one_byte_more_is_not(house) -> None:
    alice = await house.join("alice")

    async with untouched(house, alice):
        refused = await create(house, alice, record_of(RECORD_BLOCK_MAX + 1))
    taken = await create(house, alice, record_of(RECORD_BLOCK_MAX), rkey="big")

    assert refused.error == (400, "InvalidRequest")
    assert str(RECORD_BLOCK_MAX) in refused.body["message"]
    assert taken.status == 200, taken.body
    back = await house.get(f"{REPO}.getRecord", repo=alice.did, collection="com.example.big", rkey="big")
    assert len(back.body["value"]["text"]) > RECORD_BLOCK_MAX - 100


async def test_a_commit_of_two_million_bytes_is_taken_and_one_byte_more_is_not(house) -> None:
    alice, bobby, carol = [await house.join(name) for name in ("alice", "bobby", "carol")]

    async def blocks_of(member) -> int:
        found = [decode_frame(frame) for frame in await frames(house, 10)]
        return max(len(event.blocks) for event in found if isinstance(event, CommitMessage) and event.did == member.did)

    await apply_sized(house, alice, 1_800_000)
    over = await blocks_of(alice) - 1_800_000  # the commit, the tree and the CAR's own bytes: the same for each account
    async with untouched(house, carol):
        refused = await apply_sized(house, carol, COMMIT_BLOCKS_MAX - over + 1)
    taken = await apply_sized(house, bobby, COMMIT_BLOCKS_MAX - over)

    assert refused.error == (400, "InvalidRequest")
    assert str(COMMIT_BLOCKS_MAX) in refused.body["message"]
    assert taken.status == 200, taken.body
    assert len(decode_frame((await frames(house, 1, 10))[0]).blocks) == COMMIT_BLOCKS_MAX


async def apply_sized(house, member, records: int):
    """Two records of together `records` bytes in one commit."""
    half = records // 2
    writes = creates({"a": record_of(half), "b": record_of(records - half, "y")}, "com.example.big")
    body = orjson.dumps({"repo": member.did, "writes": writes})
    return await house.post(
        f"{REPO}.applyWrites", data=io.BytesIO(body), headers={**member.auth, "Content-Type": "application/json"}
    )


async def test_keys_and_collections_are_held_at_their_limits(house) -> None:
    alice = await house.join("alice")
    label = "l" * 63
    collection = ".".join(["com", label, label, label, "l" * 57, "n" * 63])
    assert len(collection) == NSID_MAX

    for rkey in ("k" * RKEY_MAX, "~", "a:b_c.d-e", "..."):
        assert (await create(house, alice, {"$type": NOTE}, rkey=rkey)).status == 200, rkey
        found = await house.get(f"{REPO}.getRecord", repo=alice.did, collection=NOTE, rkey=rkey)
        assert found.status == 200
    assert (await create(house, alice, {"$type": collection}, rkey="k" * RKEY_MAX)).status == 200
    async with untouched(house, alice):
        for rkey in ("k" * (RKEY_MAX + 1), "", ".", "..", "a/b", "a b", "ä", "a\n", "a%20b", "@"):
            answer = await create(house, alice, {"$type": NOTE}, rkey=rkey)
            assert answer.error == (400, "InvalidRequest"), rkey
            answer = await create(house, alice, {"$type": NOTE}, rkey=rkey, validate=False)
            assert answer.error == (400, "InvalidRequest"), rkey
        for bad in (collection + "n", "note", "com.example", "com.example.3", "com.exa_mple.note", "*", ""):
            answer = await create(house, alice, {"$type": bad})
            assert answer.error == (400, "InvalidRequest"), bad
        for rkey in ("not-a-tid", "self"):
            assert (await create(house, alice, post(), rkey=rkey)).error == (400, "InvalidRequest")


async def test_lexicons_hold_in_every_way_to_write(house) -> None:
    alice = await house.join("alice")
    bad = {
        "text": post("x" * 3_001),
        "graphemes": post("🦋" * 301),
        "langs": post(langs=["en", "de", "fr", "es"]),
        "createdAt": {**post(), "createdAt": "yesterday"},
        "no text": {"$type": POST, "createdAt": "2026-01-01T00:00:00Z"},
        "a self label": post(labels=labels("l" * (LABEL_VALUE_MAX + 1))),
        "an embed": post(embed={"$type": "app.bsky.embed.record", "record": {"uri": "x", "cid": "y"}}),
    }

    async with untouched(house, alice):
        for name, record in bad.items():
            body = {"repo": alice.did, "collection": POST, "record": record}
            answers = [
                await house.post(f"{REPO}.createRecord", body, alice.auth),
                await house.post(f"{REPO}.putRecord", {**body, "rkey": "3kaaaaaaaaa2a"}, alice.auth),
                await apply(house, alice, creates({"3kaaaaaaaaa2a": record}, POST)),
            ]
            assert [answer.error for answer in answers] == [(400, "InvalidRequest")] * 3, name
        unknown = await create(house, alice, {"$type": NOTE}, validate=True)
        assert unknown.error == (400, "InvalidRequest")
    assert (await create(house, alice, post(labels=labels("l" * LABEL_VALUE_MAX)))).status == 200


def labels(value: str) -> dict[str, Any]:
    return {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": value}]}


async def test_a_repo_is_written_by_its_owner_alone(house) -> None:
    alice, bobby = await house.join("alice"), await house.join("bobby")
    body = {"repo": alice.did, "collection": POST, "record": post()}

    async with untouched(house, alice, bobby):
        for repo in (alice.did, "alice.test", "did:plc:" + "z" * 24, "nobody.test"):
            answer = await house.post(f"{REPO}.createRecord", {**body, "repo": repo}, bobby.auth)
            assert answer.status in (400, 401, 403), (repo, answer.body)
        assert (await house.post(f"{REPO}.createRecord", body)).error == (401, "AuthMissing")
    assert (await house.post(f"{REPO}.createRecord", {**body, "repo": "alice.test"}, alice.auth)).status == 200


async def test_what_is_written_can_be_read_by_everyone_who_is_as_strict(house) -> None:
    """A record of more containers than a reader takes would make a commit that nobody verifies."""
    alice = await house.join("alice")
    half = CBOR_CONTAINERS_MAX // 2

    def record(containers: int) -> dict[str, Any]:
        return {"$type": NOTE, "a": [[]] * half, "b": [[]] * (containers - half - 3)}

    async with untouched(house, alice):
        refused = await create(house, alice, record(CBOR_CONTAINERS_MAX))
    # One less, since the request's own object counts too.
    taken = await create(house, alice, record(CBOR_CONTAINERS_MAX - 1), rkey="wide")

    assert refused.error == (400, "InvalidRequest")
    assert taken.status == 200, taken.body
    back = await house.get(f"{REPO}.getRecord", repo=alice.did, collection=NOTE, rkey="wide")
    assert len(back.body["value"]["a"]) == half
    car = await house.get("com.atproto.sync.getRepo", did=alice.did)
    again = await house.post(
        f"{REPO}.importRepo", data=car.body, headers={**alice.auth, "Content-Type": "application/vnd.ipld.car"}
    )
    assert again.status == 200, again.body


async def test_integers_of_64_bits_come_back_as_they_were(house) -> None:
    alice = await house.join("alice")
    numbers = [2**63 - 1, -(2**63), 2**53 - 1, 2**53, 0]

    taken = await create(house, alice, {"$type": NOTE, "n": numbers}, rkey="n")

    assert taken.status == 200
    found = await house.get(f"{REPO}.getRecord", repo=alice.did, collection=NOTE, rkey="n")
    assert found.body["value"]["n"] == numbers
    last = decode_frame((await frames(house, 4))[-1])
    assert isinstance(last, CommitMessage)
    assert cbor.encode(numbers) in last.blocks
