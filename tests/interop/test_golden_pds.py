"""The reference PDS's recorded answers (0.5.27): the same status, error name and shape from ours, over HTTP."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from headrace.settings import Settings
from headrace.wiring.embedded import Network
from ingest.identity import plc_op
from ingest.identity.plc_client import PlcHttp
from ingest.pds.secrets import PLC_ROTATION_KEY, load_or_create_key
from schemas.syntax import Did

GOLDEN = "blacksky-algorithms/rsky-ts-pds-0.5.27/golden.json"
PASSWORD = "hunter22"
# Methods of other issues: app passwords and OAuth.
NOT_OURS = {"listAppPasswords_app_password", "listAppPasswords_signup_queued", "oauth_protected_resource"}
POST = "app.bsky.feed.post"


@dataclass
class Fixture:
    """Alice is well, Bob deactivated, Carol taken down, Dave's DID document cannot be resolved."""

    url: str
    http: aiohttp.ClientSession
    secret: str
    admin: str
    dids: dict[str, str]
    golden: dict[str, Any]

    async def call(self, verb: str, method: str, token: str = "", **body: Any) -> tuple[int, Any]:
        request = {"params": body} if verb == "GET" else {"json": body} if body else {}
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"{self.url}/xrpc/com.atproto.{method}"
        async with self.http.request(verb, url, headers=headers, **request) as answer:
            raw = await answer.read()
            return answer.status, json.loads(raw) if answer.content_type == "application/json" and raw else raw

    def token(self, kind: str, **claims: Any) -> str:
        now = int(time.time())
        scope = {"scope": "com.atproto.access", "aud": "did:web:localhost", "sub": self.dids["alice"]}
        return jwt.encode(scope | {"iat": now, "exp": now + 7200} | claims, self.secret, "HS256", headers={"typ": kind})

    def case(self, name: str) -> dict[str, Any]:
        return next(case for case in self.golden["cases"] if case["name"] == name)

    def expect(self, name: str, answer: tuple[int, Any], *, error: bool = False) -> Any:
        """Status as recorded; for errors the name, and the message with DIDs replaced."""
        case = self.case(name)
        assert answer[0] == case["status"], (name, answer)
        if error and case["body"] is not None:
            assert answer[1]["error"] == case["body"]["error"], name
        return case["body"]


async def populate(fixture: Fixture, network: Network, data) -> None:
    for name in ("alice", "bob", "carol", "dave"):
        status, made = await fixture.call(
            "POST",
            "server.createAccount",
            handle=f"{name}.test",
            email=f"{name}@fixture.invalid.test",
            password=PASSWORD,
        )
        assert status == 200, made
        fixture.dids[name] = made["did"]
        token = made["accessJwt"]
        if name == "alice":
            page = fixture.case("listRecords_page2")["body"]["records"]
            known = {item["uri"].rpartition("/")[2]: item["value"] for item in page}
            for rkey in [*known, "3lfixtureaa2c", "3lfixtureaa2d"]:
                record = known.get(rkey, {"$type": POST, "text": rkey, "createdAt": "2026-09-11T13:09:37.000Z"})
                body = {"repo": made["did"], "collection": POST, "rkey": rkey, "record": record}
                status, answer = await fixture.call("POST", "repo.createRecord", token, **body)
                assert status == 200, answer
            body = {"repo": made["did"], "collection": "app.bsky.actor.profile", "rkey": "self"}
            await fixture.call("POST", "repo.putRecord", token, **body, record={"displayName": "Alice"})
        if name == "bob":
            assert (await fixture.call("POST", "server.deactivateAccount", token, deleteAfter="2030-01-01T00:00:00Z"))[
                0
            ] == 200
    subject = {"$type": "com.atproto.admin.defs#repoRef", "did": fixture.dids["carol"]}
    auth = aiohttp.encode_basic_auth("admin", fixture.admin)
    async with fixture.http.post(
        f"{fixture.url}/xrpc/com.atproto.admin.updateSubjectStatus",
        json={"subject": subject, "takedown": {"applied": True, "ref": "1"}},
        headers={"Authorization": auth},
    ) as answer:
        assert answer.status == 200, await answer.text()
    plc = PlcHttp(network.addresses["plc"])
    did = Did(fixture.dids["dave"])
    last = plc_op.parse(await plc.last(did))
    await plc.submit(did, plc_op.sign(plc_op.tombstone(str(last.cid)), load_or_create_key(data / PLC_ROTATION_KEY)))
    await plc.close()


@pytest.fixture
async def fixture(tmp_path, vectors):
    golden = json.loads(vectors(GOLDEN).read_bytes())
    secret = golden["jwt_secret_hex_as_ascii"]
    data = tmp_path / "data"
    data.mkdir()
    (data / "jwt_secret").write_text(secret)
    settings = Settings(data=data, port=0, plc_port=0, ops_port=0)
    async with aiohttp.ClientSession() as http:
        network = await Network.open(settings)
        made = Fixture(network.addresses["xrpc"], http, secret, (data / "admin_token").read_text(), {}, golden)
        try:
            await populate(made, network, data)
        finally:
            await network.close()
        # A restart: what was known of Dave's document is forgotten, everything else must not be.
        network = await Network.open(settings)
        made.url = network.addresses["xrpc"]
        yield made
        await network.close()


async def test_sessions_answer_as_the_reference_does(fixture):
    call, expect = fixture.call, fixture.expect

    async def login(name: str, password: str, **more: Any) -> tuple[int, Any]:
        return await call("POST", "server.createSession", identifier=f"{name}.test", password=password, **more)

    wrong = await login("alice", "wrong")
    body = expect("createSession_wrong_password", wrong, error=True)
    assert wrong[1] == body
    expect("createSession_carol_allow_takendown", await login("carol", PASSWORD, allowTakendown=True))
    expect("createSession_unknown", await login("nobody", PASSWORD))
    alice = await login("alice", PASSWORD)
    body = expect("createSession_alice", alice)
    assert body.keys() | {"didDoc"} == alice[1].keys()
    for name, kind, scope, lifetime in (
        ("accessJwt", "at+jwt", "com.atproto.access", 7200),
        ("refreshJwt", "refresh+jwt", "com.atproto.refresh", 7_776_000),
    ):
        claims = jwt.decode(alice[1][name], fixture.secret, ["HS256"], audience="did:web:localhost")
        assert jwt.get_unverified_header(alice[1][name]) == {"alg": "HS256", "typ": kind}
        assert (claims["scope"], claims["sub"]) == (scope, fixture.dids["alice"])
        assert claims["exp"] - claims["iat"] == lifetime
        assert ("jti" in claims) is (name == "refreshJwt")
    token = fixture.token("refresh+jwt", scope="com.atproto.refresh", jti="unknown")
    unknown = await call("POST", "server.refreshSession", token)
    assert unknown[1] == expect("refreshSession_unknown_jti", unknown, error=True)
    bob = await call("GET", "server.getSession", fixture.token("at+jwt", sub=fixture.dids["bob"]))
    body = expect("getSession_bob", bob)
    assert bob[1].keys() - {"didDoc"} == body.keys()
    assert (bob[1]["active"], bob[1]["status"]) == (body["active"], body["status"])
    untyped = await call("GET", "server.getSession", fixture.token("JWT"))
    assert untyped[1] == expect("getSession_typ_jwt", untyped, error=True)


async def test_repos_answer_as_the_reference_does(fixture):
    call, expect, dids = fixture.call, fixture.expect, fixture.dids

    alice = await call("GET", "repo.describeRepo", repo=dids["alice"])
    body = expect("describeRepo", alice)
    assert alice[1].keys() == body.keys()
    assert alice[1]["collections"] == body["collections"]
    assert alice[1]["handleIsCorrect"] is True
    assert {method["id"].partition("#")[2] for method in alice[1]["didDoc"]["verificationMethod"]} == {"atproto"}
    dave = await call("GET", "repo.describeRepo", repo=dids["dave"])
    body = expect("dave_describeRepo", dave, error=True)
    assert dave[1]["message"] == body["message"].rpartition(" ")[0] + " " + dids["dave"]
    bob = await call("GET", "repo.listRecords", repo=dids["bob"], collection=POST)
    expect("bob_listRecords", bob, error=True)
    assert bob[1]["message"] == f"Could not find repo: {dids['bob']}"
    page2 = await call("GET", "repo.listRecords", repo="alice.test", collection=POST, limit=5, cursor="3lfixtureaa2c")
    body = expect("listRecords_page2", page2)
    assert page2[1]["cursor"] == body["cursor"]
    for ours, theirs in zip(page2[1]["records"], body["records"], strict=True):
        assert ours["uri"].rpartition("/")[2] == theirs["uri"].rpartition("/")[2]
        assert (ours["cid"], ours["value"]) == (theirs["cid"], theirs["value"])


async def test_sync_answers_as_the_reference_does(fixture):
    call, expect, dids = fixture.call, fixture.expect, fixture.dids

    bob = await call("GET", "sync.getRepo", did=dids["bob"])
    expect("bob_getRepo", bob, error=True)
    assert bob[1]["message"] == f"Repo has been deactivated: {dids['bob']}"
    carol = await call("GET", "sync.getLatestCommit", did=dids["carol"])
    expect("carol_getLatestCommit", carol, error=True)
    assert carol[1]["message"] == f"Repo has been takendown: {dids['carol']}"
    listed = await call("GET", "sync.listRepos")
    body = expect("listRepos", listed)
    assert [repo.keys() for repo in listed[1]["repos"]] == [repo.keys() for repo in body["repos"]]
    assert [repo.get("status") for repo in listed[1]["repos"]] == [repo.get("status") for repo in body["repos"]]
    assert listed[1]["cursor"].endswith(f"::{dids['dave']}")


async def test_statuses_alone_are_as_recorded(fixture):
    call, dids = fixture.call, fixture.dids
    alice = dids["alice"]
    missing = "did:plc:" + "z" * 24

    answers = {
        "alice_listRecords_limit101": await call("GET", "repo.listRecords", repo=alice, collection=POST, limit=101),
        "bob_listBlobs": await call("GET", "sync.listBlobs", did=dids["bob"]),
        "carol_listRecords": await call("GET", "repo.listRecords", repo=dids["carol"], collection=POST),
        "missing_describeRepo": await call("GET", "repo.describeRepo", repo=missing),
        "missing_getLatestCommit": await call("GET", "sync.getLatestCommit", did=missing),
        "syncGetRecord_missing.car": await call(
            "GET", "sync.getRecord", did=alice, collection=POST, rkey="3lfixtureaaaa"
        ),
        "syncGetRecord_profile.car": await call(
            "GET", "sync.getRecord", did=alice, collection="app.bsky.actor.profile", rkey="self"
        ),
        "getRepoStatus": await call("GET", "sync.getRepoStatus", did=alice),
        "listRecords_reverse": await call("GET", "repo.listRecords", repo=alice, collection=POST, reverse="true"),
        "listBlobs": await call("GET", "sync.listBlobs", did=alice),
    }

    assert {name: status for name, (status, _) in answers.items()} == fixture.golden["other_status_only"]


def test_every_recorded_case_is_compared_or_named_as_anothers(vectors):
    golden = json.loads(vectors(GOLDEN).read_bytes())
    text = Path(__file__).read_text()

    names = {case["name"] for case in golden["cases"]}
    assert names >= NOT_OURS
    assert all(f'"{name}"' in text for name in names)
