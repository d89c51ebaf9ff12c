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


async def test_the_operator_alone_sees_searches_and_deletes_accounts(house) -> None:
    alice, bea, cleo = [await house.join(name) for name in ("alice", "bea", "cleo")]
    calls = [
        house.get(f"{ADMIN}.getAccountInfo", alice.auth, did=alice.did),
        house.get(f"{ADMIN}.searchAccounts"),
        house.post(f"{ADMIN}.deleteAccount", {"did": bea.did}, bea.auth),
        house.post(f"{ADMIN}.updateAccountPassword", {"did": bea.did, "password": "mine now"}, alice.auth),
    ]
    assert [(await call).status for call in calls] == [401] * 4

    one = (await house.get(f"{ADMIN}.getAccountInfo", house.admin, did=bea.did)).body
    first = (await house.get(f"{ADMIN}.searchAccounts", house.admin, limit=2)).body
    rest = (await house.get(f"{ADMIN}.searchAccounts", house.admin, limit=2, cursor=first["cursor"])).body
    found = (await house.get(f"{ADMIN}.searchAccounts", house.admin, email="LEO@example")).body
    malformed = await house.get(f"{ADMIN}.searchAccounts", house.admin, cursor="yesterday")
    unknown = await house.get(f"{ADMIN}.getAccountInfo", house.admin, did="did:plc:" + "a" * 24)

    assert (one["did"], one["handle"], one["email"]) == (bea.did, "bea.test", "bea@example.com")
    assert [view["did"] for view in (*first["accounts"], *rest["accounts"])] == [alice.did, bea.did, cleo.did]
    assert "cursor" not in rest
    assert [view["did"] for view in found["accounts"]] == [cleo.did]
    assert malformed.error == (400, "InvalidRequest")
    assert unknown.error[1] == "AccountNotFound"

    assert (await house.post(f"{ADMIN}.deleteAccount", {"did": bea.did}, house.admin)).status == 200
    assert (await house.get(f"{ADMIN}.getAccountInfo", house.admin, did=bea.did)).status == 403
    again = await house.post(f"{ADMIN}.deleteAccount", {"did": bea.did}, house.admin)
    assert again.error[1] == "AccountNotFound"


async def test_another_password_ends_the_sessions_and_opens_new_ones(house) -> None:
    alice = await house.join("alice")
    refresh = {"Authorization": f"Bearer {alice.refresh}"}
    body = {"did": alice.did, "password": "a new password"}

    assert (await house.post(f"{ADMIN}.updateAccountPassword", body, house.admin)).status == 200
    empty = await house.post(f"{ADMIN}.updateAccountPassword", {**body, "password": ""}, house.admin)
    ended = await house.post("com.atproto.server.refreshSession", headers=refresh)
    login = [
        (
            await house.post("com.atproto.server.createSession", {"identifier": "alice.test", "password": password})
        ).status
        for password in ("password-alice", "a new password")
    ]

    assert empty.error == (400, "InvalidRequest")
    assert ended.error == (400, "ExpiredToken")
    assert login == [401, 200]
