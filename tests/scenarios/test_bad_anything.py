"""Every method that is answered here, with hostile values in every field its lexicon declares: refused or answered.

Never a 500, and never a byte changed by a call that has no business changing it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from api import apps
from schemas.lexicon.document import Object, Procedure, Query
from schemas.lexicon.shipped import Shipped
from tests.support.hostile import POST, REPO, SERVER, post, standing, untouched

TEXTS = (
    "",
    " ",
    "x",
    "x" * 3_000,
    "0",
    "-1",
    "9" * 30,
    "null",
    "true",
    "did:plc:",
    "did:plc:" + "a" * 24,
    "did:web:localhost",
    "did:web:169.254.169.254",
    "did:web:localhost%3A1",
    "did:unknown:x",
    "alice.test",
    "at://alice.test/app.bsky.feed.post/self",
    "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/3kaaaaaaaaa2a",
    "at://x/y/z",
    "bafyreiapzyf65cmq55jklpnrihiygze2jmmdqvvkwqeiomd72pbp2iazuu",
    "bafkqaaa",
    "3kaaaaaaaaa2a",
    "zzzzzzzzzzzzz",
    "app.bsky.feed.post",
    "2026-01-01T00:00:00Z",
    "9999999999999999999999::x",
    "-9223372036854775808::bafy",
    "1760000000000::" + "x" * 100,
    "\x00",
    "a\r\nSet-Cookie: x=y",
    "' OR 1=1 --",
    "%' ESCAPE '",
    "../../../etc/passwd",
    "${jndi:ldap://x}",
    "\U0001f98b" * 50,
    "\u202e\ufeff\u0000",
    "AAAAAAAAAAAAAAAAAAAAAAAA",
    "////",
    "eyJ4IjoxfQ",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**62,
    "",
    "x" * 100_000,
    [],
    {},
    [[]],
    {"$type": "x"},
    {"$link": "x"},
    "alice.test",
)


NEVER = {f"{SERVER}.deactivateAccount", f"{SERVER}.deleteSession", f"{SERVER}.refreshSession"}
"""Calls that need no field to do what they say."""


def declared() -> dict[str, Query | Procedure]:
    """What the lexicons say of every query and procedure that is answered here."""
    shipped = Shipped()
    found = {endpoint.nsid: shipped[endpoint.nsid].defs["main"] for endpoint in (*apps.PDS, *apps.VIEWS)}
    return {nsid: main for nsid, main in sorted(found.items()) if isinstance(main, Query | Procedure)}


async def test_no_parameter_makes_a_query_fail(house, caplog) -> None:
    alice = await house.join("alice")
    rkey = (await house.say(alice, "hello"))["uri"].rpartition("/")[2]
    uri = f"at://{alice.did}/{POST}/{rkey}"
    good = {"collection": POST, "rkey": rkey, "uri": uri, "uris": uri, "handle": "alice.test", "q": "a"}
    good |= dict.fromkeys(("actor", "actors", "did", "repo"), alice.did)
    before = await standing(house, alice)
    asked, answered = 0, 0

    for nsid, main in declared().items():
        if not isinstance(main, Query) or main.parameters is None:
            continue
        names = main.parameters.properties
        for name in names:
            for text in TEXTS:
                params = {other: good[other] for other in names if other in good} | {name: text}
                answer = await house.get(nsid, alice.auth, **params)
                assert answer.status in (200, 400, 401, 403, 404, 501), (nsid, name, text, answer.body)
                assert answer.headers.get("Set-Cookie") is None
                asked += 1
                answered += answer.status == 200

    assert asked > 1_500
    assert answered > 100
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
    assert await standing(house, alice) == before


async def test_no_field_makes_a_procedure_fail_or_reach_another_account(house, caplog) -> None:
    alice, bobby = await house.join("alice"), await house.join("bobby")
    uri = (await house.say(bobby, "hello"))["uri"]
    good: dict[str, Any] = {
        "repo": alice.did,
        "collection": POST,
        "rkey": "3kaaaaaaaaa2a",
        "record": post(),
        "writes": [{"$type": f"{REPO}.applyWrites#create", "collection": POST, "value": post()}],
        "subject": {"$type": "com.atproto.repo.strongRef", "uri": uri, "cid": "x"},
        "handle": "new.test",
        "email": "new@example.com",
        "password": "password-new",
        "identifier": "alice.test",
        "did": alice.did,
        "token": "AAAAA-BBBBB",
    }
    asked = 0

    async with untouched_but_for_the_log(house, bobby):
        for nsid, main in declared().items():
            schema = main.input.schema if isinstance(main, Procedure) and main.input is not None else None
            if not isinstance(schema, Object) or nsid in NEVER:
                continue
            for name in schema.properties:
                for value in (*VALUES, *(TEXTS[::3] if name not in ("record", "writes") else ())):
                    whole = {other: good[other] for other in schema.properties if other in good}
                    auth = house.admin if ".admin." in nsid else alice.auth
                    answer = await house.post(nsid, whole | {name: value}, auth)
                    assert answer.status in (200, 400, 401, 403), (nsid, name, value, answer.body)
                    asked += 1

    assert asked > 500
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
    assert (await house.get("_health")).status == 200


@asynccontextmanager
async def untouched_but_for_the_log(house: Any, member: Any) -> AsyncIterator[None]:
    before = await standing(house, member)
    yield
    assert (await standing(house, member))[:4] == before[:4]


async def test_calls_without_their_credential_change_nothing(house) -> None:
    alice = await house.join("alice")

    async with untouched(house, alice):
        for nsid, main in declared().items():
            if isinstance(main, Procedure) and nsid not in (f"{SERVER}.createAccount", f"{SERVER}.createSession"):
                for headers in (None, {"Authorization": "Bearer x.y.z"}, {"Authorization": "Basic YWRtaW46"}):
                    answer = await house.post(nsid, {"did": alice.did, "repo": alice.did}, headers)
                    assert answer.status in (400, 401), (nsid, answer.body)
