"""com.atproto.sync over HTTP: what a relay or a migrating client does."""

from __future__ import annotations

import hashlib

from ingest.repo.car import read_car
from ingest.repo.commit import decode_commit
from ingest.repo.frame import decode_frame
from ingest.repo.keys import PublicKey
from ingest.repo.mst import Tree
from ingest.repo.verify import Previous, verify_commit
from schemas import cbor
from schemas.cid import Cid

SYNC = "com.atproto.sync"


async def key_of(house, did: str) -> PublicKey:
    async with house.session.get(f"{house.network.addresses['plc']}/{did}") as response:
        document = await response.json(content_type=None)
    return PublicKey.from_multikey(document["verificationMethod"][0]["publicKeyMultibase"])


async def test_a_repo_exports_whole_signed_and_complete(house) -> None:
    alice = await house.join("alice")
    uris = {(await house.say(alice, f"post {number}"))["uri"] for number in range(40)}

    car = await house.get(f"{SYNC}.getRepo", did=alice.did)

    roots, blocks = read_car(car.body)
    commit = decode_commit(blocks[roots[0].raw])
    assert commit.is_signed_by(await key_of(house, alice.did))
    found = {f"at://{alice.did}/{path}" for path, _ in Tree.open(commit.data, blocks.__getitem__).items()}
    assert found == uris
    assert (await house.get(f"{SYNC}.getLatestCommit", did=alice.did)).body == {
        "cid": str(commit.cid),
        "rev": commit.rev,
    }
    assert (await house.get(f"{SYNC}.getHead", did=alice.did)).body == {"root": str(commit.cid)}
    assert (await house.get(f"{SYNC}.getCheckout", did=alice.did)).body == car.body


async def test_since_gives_what_is_newer(house) -> None:
    alice = await house.join("alice")
    first = await house.say(alice, "old")
    second = await house.say(alice, "new")

    car = await house.get(f"{SYNC}.getRepo", did=alice.did, since=first["commit"]["rev"])

    _, blocks = read_car(car.body)
    assert Cid.parse(second["cid"]).raw in blocks
    assert Cid.parse(first["cid"]).raw not in blocks


async def test_a_record_is_proven_present_or_absent(house) -> None:
    alice = await house.join("alice")
    post = await house.say(alice, "here")
    rkey = post["uri"].rpartition("/")[2]

    present = await house.get(f"{SYNC}.getRecord", did=alice.did, collection="app.bsky.feed.post", rkey=rkey)
    absent = await house.get(f"{SYNC}.getRecord", did=alice.did, collection="app.bsky.feed.post", rkey="nothing")

    for answer, expected in ((present, Cid.parse(post["cid"])), (absent, None)):
        roots, blocks = read_car(answer.body)
        commit = decode_commit(blocks[roots[0].raw])
        name = "nothing" if expected is None else rkey
        assert Tree.open(commit.data, blocks.__getitem__).get(f"app.bsky.feed.post/{name}") == expected
    assert cbor.decode(read_car(present.body)[1][Cid.parse(post["cid"]).raw])["text"] == "here"


async def test_blocks_are_given_by_cid_or_refused_by_name(house) -> None:
    alice = await house.join("alice")
    post = await house.say(alice, "here")
    unknown = str(Cid.of_cbor(b"\xa0"))

    found = await house.get(f"{SYNC}.getBlocks", did=alice.did, cids=post["cid"])
    missing = await house.get(f"{SYNC}.getBlocks", did=alice.did, cids=unknown)

    assert set(read_car(found.body)[1]) == {Cid.parse(post["cid"]).raw}
    assert missing.error == (400, "BlockNotFound")


async def test_repos_are_listed_in_order_with_their_state(house) -> None:
    members = [await house.join(name) for name in ("alice", "bobby", "carol")]
    await house.post("com.atproto.server.deactivateAccount", {}, members[1].auth)

    first = await house.get(f"{SYNC}.listRepos", limit=2)
    second = await house.get(f"{SYNC}.listRepos", limit=2, cursor=first.body["cursor"])

    repos = first.body["repos"] + second.body["repos"]
    assert [repo["did"] for repo in repos] == [member.did for member in members]
    assert [repo.get("status") for repo in repos] == [None, "deactivated", None]
    assert [repo["active"] for repo in repos] == [True, False, True]


async def test_hidden_repos_say_why_and_show_themselves_to_their_owner(house) -> None:
    alice, bobby = await house.join("alice"), await house.join("bobby")
    await house.post("com.atproto.server.deactivateAccount", {}, alice.auth)
    unknown = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"

    for method in ("getRepo", "getLatestCommit", "listBlobs", "getHead"):
        nsid = f"{SYNC}.{method}"
        assert (await house.get(nsid, did=alice.did)).error == (400, "RepoDeactivated")
        assert (await house.get(nsid, bobby.auth, did=alice.did)).error == (400, "RepoDeactivated")
        assert (await house.get(nsid, alice.auth, did=alice.did)).status == 200
        assert (await house.get(nsid, house.admin, did=alice.did)).status == 200
        name = "HeadNotFound" if method == "getHead" else "RepoNotFound"
        assert (await house.get(nsid, did=unknown)).error == (400, name)
    status = await house.get(f"{SYNC}.getRepoStatus", did=alice.did)
    assert status.body == {"did": alice.did, "active": False, "status": "deactivated"}


async def test_a_blob_is_served_such_that_no_browser_runs_it(house) -> None:
    alice = await house.join("alice")
    image = b"\x89PNG\r\n\x1a\n" + b"\0" * 64
    page = b"<html><script>alert(1)</script></html>"
    cids = []
    for content, mime in ((image, "image/png"), (page, "text/html")):
        answer = await house.post(
            "com.atproto.repo.uploadBlob", data=content, headers={**alice.auth, "Content-Type": mime}
        )
        blob = answer.body["blob"]
        assert Cid.parse(blob["ref"]["$link"]).raw[4:] == hashlib.sha256(content).digest()
        cids.append(blob["ref"]["$link"])
        await house.create(alice, "com.example.file", {"file": blob})

    shown = await house.get(f"{SYNC}.getBlob", did=alice.did, cid=cids[0])
    offered = await house.get(f"{SYNC}.getBlob", did=alice.did, cid=cids[1])
    listed = await house.get(f"{SYNC}.listBlobs", did=alice.did)
    missing = await house.get(f"{SYNC}.getBlob", did=alice.did, cid=str(Cid.of_raw(b"nothing")))

    assert (shown.body, offered.body) == (image, page)
    for answer in (shown, offered):
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Disposition" not in shown.headers
    assert offered.headers["Content-Disposition"].startswith("attachment")
    assert set(listed.body["cids"]) == set(cids)
    assert missing.error == (400, "BlobNotFound")


async def test_the_firehose_tells_a_life_and_every_commit_inverts(house) -> None:
    alice = await house.join("alice")
    for number in range(5):
        await house.say(alice, f"post {number}")
    await house.post("com.atproto.server.deactivateAccount", {}, alice.auth)
    await house.post("com.atproto.server.activateAccount", None, alice.auth)

    messages = await house.firehose(12)

    kinds = [kind for kind, _ in messages]
    assert kinds == ["#identity", "#account", *["#commit"] * 6, "#account", "#identity", "#account", "#sync"]
    assert [payload["seq"] for _, payload in messages] == list(range(1, 13))
    assert messages[8][1]["active"] is False
    assert messages[8][1]["status"] == "deactivated"
    assert messages[10][1]["active"] is True
    key, previous = await key_of(house, alice.did), None
    for kind, payload in messages:
        if kind == "#commit":
            raw = cbor.encode({"op": 1, "t": kind}) + cbor.encode(payload)
            verified = verify_commit(decode_frame(raw), key, previous, 2**52)
            assert verified.inverted
            assert verified.continuous
            previous = Previous(verified.entry.rev, verified.entry.data)
