"""The reference PDS's recorded answers (0.5.27): ours have the same status, error name and shape.

alice is active, bobby deactivated, carol taken down; `dave`, whose DID document does not resolve, cannot be made here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest

from ingest.pds.tokens import Tokens

FILE = "blacksky-algorithms/rsky-ts-pds-0.5.27/golden.json"
SERVER, REPO, SYNC = "com.atproto.server", "com.atproto.repo", "com.atproto.sync"
POST = "app.bsky.feed.post"
UNKNOWN = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"


@pytest.fixture
def golden(vectors: Callable[[str], Path]) -> dict[str, Any]:
    found = orjson.loads(vectors(FILE).read_bytes())
    return {case["name"]: case for case in found["cases"]} | {
        name: {"name": name, "status": status, "body": None} for name, status in found["other_status_only"].items()
    }


def shape(value: Any) -> Any:
    """Names and types, values aside; a list by its first item."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return type(value).__name__


async def people(house):
    alice, bobby, carol = [await house.join(name) for name in ("alice", "bobby", "carol")]
    await house.create(alice, "app.bsky.actor.profile", {"displayName": "Alice"}, rkey="self")
    for number in range(7):
        await house.say(alice, f"alice post {number}")
    await house.post(f"{SERVER}.deactivateAccount", {}, bobby.auth)
    subject = {"$type": "com.atproto.admin.defs#repoRef", "did": carol.did}
    body = {"subject": subject, "takedown": {"applied": True}}
    await house.post("com.atproto.admin.updateSubjectStatus", body, house.admin)
    return alice, bobby, carol


async def login(house, identifier: str, password: str, **more: Any):
    return await house.post(f"{SERVER}.createSession", {"identifier": identifier, "password": password, **more})


async def test_sessions_answer_as_recorded(house, golden) -> None:
    alice, bobby, _ = await people(house)
    secret = (house.settings.data / "jwt_secret").read_bytes().strip()
    tokens = Tokens(secret, "did:web:localhost", 7200, 7200, time.time)
    untyped = jwt.encode(jwt.decode(alice.access, options={"verify_signature": False}), secret, "HS256")

    answers = {
        "createSession_wrong_password": await login(house, "alice.test", "wrong"),
        "createSession_unknown": await login(house, "nobody.test", "wrong"),
        "createSession_alice": await login(house, "alice.test", "password-alice"),
        "createSession_carol_allow_takendown": await login(house, "carol.test", "password-carol", allowTakendown=True),
        "refreshSession_unknown_jti": await house.post(
            f"{SERVER}.refreshSession", None, {"Authorization": f"Bearer {tokens.refresh(alice.did, 'unknown')}"}
        ),
        "getSession_bob": await house.get(f"{SERVER}.getSession", bobby.auth),
        "getSession_typ_jwt": await house.get(f"{SERVER}.getSession", {"Authorization": f"Bearer {untyped}"}),
    }

    for name, answer in answers.items():
        expected = golden[name]
        assert answer.status == expected["status"], name
        if expected["body"] is not None:
            body = dict(answer.body)
            body.pop("didDoc", None)  # newer versions of the reference send it too
            assert shape(body) == shape(expected["body"]), name
        if isinstance(expected["body"], dict) and "error" in expected["body"]:
            assert answer.body == expected["body"], name
    assert answers["getSession_bob"].body["status"] == golden["getSession_bob"]["body"]["status"]


async def test_repos_answer_as_recorded(house, golden) -> None:
    alice, bobby, carol = await people(house)
    page = await house.get(f"{REPO}.listRecords", repo=alice.did, collection=POST, limit=5)

    answers = {
        "describeRepo": await house.get(f"{REPO}.describeRepo", repo=alice.did),
        "missing_describeRepo": await house.get(f"{REPO}.describeRepo", repo=UNKNOWN),
        "listRecords_page2": await house.get(
            f"{REPO}.listRecords", repo=alice.did, collection=POST, limit=5, cursor=page.body["cursor"]
        ),
        "listRecords_reverse": await house.get(f"{REPO}.listRecords", repo=alice.did, collection=POST, reverse="true"),
        "alice_listRecords_limit101": await house.get(
            f"{REPO}.listRecords", repo=alice.did, collection=POST, limit=101
        ),
        "bob_listRecords": await house.get(f"{REPO}.listRecords", repo=bobby.did, collection=POST),
        "carol_listRecords": await house.get(f"{REPO}.listRecords", repo=carol.did, collection=POST),
        "bob_getRepo": await house.get(f"{SYNC}.getRepo", did=bobby.did),
        "bob_listBlobs": await house.get(f"{SYNC}.listBlobs", did=bobby.did),
        "carol_getLatestCommit": await house.get(f"{SYNC}.getLatestCommit", did=carol.did),
        "missing_getLatestCommit": await house.get(f"{SYNC}.getLatestCommit", did=UNKNOWN),
        "listRepos": await house.get(f"{SYNC}.listRepos"),
        "getRepoStatus": await house.get(f"{SYNC}.getRepoStatus", did=alice.did),
        "listBlobs": await house.get(f"{SYNC}.listBlobs", did=alice.did),
        "syncGetRecord_missing.car": await house.get(
            f"{SYNC}.getRecord", did=alice.did, collection=POST, rkey="missing"
        ),
        "syncGetRecord_profile.car": await house.get(
            f"{SYNC}.getRecord", did=alice.did, collection="app.bsky.actor.profile", rkey="self"
        ),
    }

    for name, answer in answers.items():
        expected = golden[name]
        assert answer.status == expected["status"], (name, answer.body)
        body = expected["body"]
        if body is not None and "error" in body:
            assert answer.body["error"] == body["error"], name
            assert answer.body["message"].partition(":")[0] == body["message"].partition(":")[0], name
        elif body is not None:
            assert {key: type(value) for key, value in answer.body.items() if key != "cursor"} == {
                key: type(value) for key, value in body.items() if key != "cursor"
            }, name
    assert [repo.get("status") for repo in answers["listRepos"].body["repos"]] == [None, "deactivated", "takendown"]
    record = answers["listRecords_page2"].body["records"][0]
    assert shape(record) == shape(golden["listRecords_page2"]["body"]["records"][0])
    assert answers["describeRepo"].body["collections"] == golden["describeRepo"]["body"]["collections"]
    assert list(answers["describeRepo"].body) == list(golden["describeRepo"]["body"])
