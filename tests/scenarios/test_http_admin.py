"""Takedowns by the operator, over HTTP."""

from __future__ import annotations

ADMIN = "com.atproto.admin"
DEFS = "com.atproto.admin.defs"


async def test_only_the_operator_may_ask(house) -> None:
    alice = await house.join("alice")

    assert (await house.get(f"{ADMIN}.getSubjectStatus", did=alice.did)).status == 401
    assert (await house.get(f"{ADMIN}.getSubjectStatus", alice.auth, did=alice.did)).status == 401
    wrong = {"Authorization": "Basic YWRtaW46d3Jvbmc="}
    assert (await house.get(f"{ADMIN}.getSubjectStatus", wrong, did=alice.did)).status == 401


async def test_an_account_is_taken_down_and_restored(house) -> None:
    alice = await house.join("alice")
    subject = {"$type": f"{DEFS}#repoRef", "did": alice.did}
    body = {"subject": subject, "takedown": {"applied": True, "ref": "case-7"}}

    done = await house.post(f"{ADMIN}.updateSubjectStatus", body, house.admin)
    status = await house.get(f"{ADMIN}.getSubjectStatus", house.admin, did=alice.did)
    hidden = await house.get("com.atproto.sync.getLatestCommit", did=alice.did)
    refused = await house.post(
        "com.atproto.repo.createRecord",
        {"repo": alice.did, "collection": "com.example.note", "record": {"$type": "com.example.note"}},
        alice.auth,
    )
    login = await house.post(
        "com.atproto.server.createSession", {"identifier": "alice.test", "password": "password-alice"}
    )
    await house.post(f"{ADMIN}.updateSubjectStatus", {"subject": subject, "takedown": {"applied": False}}, house.admin)
    restored = await house.get("com.atproto.sync.getLatestCommit", did=alice.did)
    events = await house.firehose(2, cursor=3)

    assert done.body == {"subject": subject, "takedown": {"applied": True, "ref": "case-7"}}
    assert status.body == {"subject": subject, "takedown": {"applied": True, "ref": "case-7"}}
    assert hidden.error == (400, "RepoTakendown")
    assert refused.error[1] == "AccountTakedown"
    assert login.error == (401, "AccountTakedown")
    assert restored.status == 200
    assert [(kind, payload["active"], payload.get("status")) for kind, payload in events] == [
        ("#account", False, "takendown"),
        ("#account", True, None),
    ]


async def test_a_record_is_taken_down_and_restored(house) -> None:
    alice = await house.join("alice")
    post = await house.say(alice, "unkind")
    subject = {"$type": "com.atproto.repo.strongRef", "uri": post["uri"], "cid": post["cid"]}
    rkey = post["uri"].rpartition("/")[2]
    where = {"repo": alice.did, "collection": "app.bsky.feed.post", "rkey": rkey}

    await house.post(f"{ADMIN}.updateSubjectStatus", {"subject": subject, "takedown": {"applied": True}}, house.admin)
    status = await house.get(f"{ADMIN}.getSubjectStatus", house.admin, uri=post["uri"])
    hidden = await house.get("com.atproto.repo.getRecord", **where)
    await house.post(f"{ADMIN}.updateSubjectStatus", {"subject": subject, "takedown": {"applied": False}}, house.admin)
    restored = await house.get("com.atproto.repo.getRecord", **where)

    assert status.body["subject"] == subject
    assert status.body["takedown"]["applied"] is True
    assert hidden.error == (400, "RecordNotFound")
    assert restored.status == 200


async def test_a_blob_is_taken_down_and_restored(house) -> None:
    alice = await house.join("alice")
    answer = await house.post(
        "com.atproto.repo.uploadBlob",
        data=b"\xff\xd8\xff" + b"x" * 64,
        headers={**alice.auth, "Content-Type": "image/jpeg"},
    )
    blob = answer.body["blob"]
    cid = blob["ref"]["$link"]
    await house.create(alice, "com.example.file", {"file": blob})
    subject = {"$type": f"{DEFS}#repoBlobRef", "did": alice.did, "cid": cid}

    await house.post(f"{ADMIN}.updateSubjectStatus", {"subject": subject, "takedown": {"applied": True}}, house.admin)
    status = await house.get(f"{ADMIN}.getSubjectStatus", house.admin, did=alice.did, blob=cid)
    hidden = await house.get("com.atproto.sync.getBlob", did=alice.did, cid=cid)
    await house.post(f"{ADMIN}.updateSubjectStatus", {"subject": subject, "takedown": {"applied": False}}, house.admin)
    restored = await house.get("com.atproto.sync.getBlob", did=alice.did, cid=cid)

    assert status.body["takedown"]["applied"] is True
    assert hidden.error == (400, "BlobNotFound")
    assert restored.status == 200


async def test_what_is_not_there_is_not_found(house) -> None:
    nobody = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"

    assert (await house.get(f"{ADMIN}.getSubjectStatus", house.admin, did=nobody)).error == (400, "NotFound")
    assert (await house.get(f"{ADMIN}.getSubjectStatus", house.admin)).error == (400, "InvalidRequest")
    bad = {"subject": {"$type": "com.example.thing"}, "takedown": {"applied": True}}
    assert (await house.post(f"{ADMIN}.updateSubjectStatus", bad, house.admin)).error == (400, "InvalidRequest")
