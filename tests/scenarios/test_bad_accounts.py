"""Identities and credentials that are not what they say: named, and nobody gets in."""

from __future__ import annotations

import base64
import hmac
import time
from typing import Any

import jwt
import orjson
import pytest

from ingest.identity import service_auth
from ingest.pds.tokens import Scope, Tokens
from ingest.repo.keys import PrivateKey
from schemas.limits import DID_MAX, HANDLE_MAX, SERVICE_JWT_SECONDS
from schemas.syntax import Did
from tests.support.hostile import POST, REPO, SERVER, SYNC, post, raw, untouched

IDENTITY = "com.atproto.identity"


def secret_of(house) -> bytes:
    return (house.settings.data / "jwt_secret").read_bytes().strip()


def tokens_of(house, now: float = 0.0) -> Tokens:
    return Tokens(secret_of(house), "did:web:localhost", 7200, 7200, lambda: now or time.time())


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = (orjson.dumps(header), orjson.dumps(claims), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def hs256(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    body = unsigned(header, claims)[:-1]
    return f"{body}.{base64.urlsafe_b64encode(hmac.digest(secret, body.encode(), 'sha256')).rstrip(b'=').decode()}"


async def test_forged_tokens_are_refused_by_name_everywhere(house) -> None:
    alice, bobby = await house.join("alice"), await house.join("bobby")
    claims = jwt.decode(alice.access, options={"verify_signature": False})
    head = {"typ": "at+jwt"}
    service_key = PrivateKey.generate("k256")
    forged = {
        "alg none": unsigned({"alg": "none", **head}, claims),
        "alg None": unsigned({"alg": "None", **head}, claims, b"x"),
        "no alg": unsigned(head, claims, b"x" * 32),
        "another secret": jwt.encode(claims, "x" * 64, "HS256", headers=head),
        "an empty secret": hs256({"alg": "HS256", **head}, claims, b""),
        "HS512": jwt.encode(claims, secret_of(house), "HS512", headers=head),
        "a signature cut": alice.access[:-4],
        "a claim changed": alice.access.replace(alice.access.split(".")[1], bobby.access.split(".")[1]),
        "another audience": jwt.encode(
            {**claims, "aud": "did:web:other.test"}, secret_of(house), "HS256", headers=head
        ),
        "another type": jwt.encode(claims, secret_of(house), "HS256", headers={"typ": "JWT"}),
        "another scope": jwt.encode({**claims, "scope": "com.atproto.all"}, secret_of(house), "HS256", headers=head),
        "no end": jwt.encode({k: v for k, v in claims.items() if k != "exp"}, secret_of(house), "HS256", headers=head),
        "no subject": jwt.encode(
            {k: v for k, v in claims.items() if k != "sub"}, secret_of(house), "HS256", headers=head
        ),
        "a subject that is none": jwt.encode({**claims, "sub": "alice"}, secret_of(house), "HS256", headers=head),
        "the refresh token": alice.refresh,
        "not a token": "nonsense",
        "dots": "...",
        "emptiness": "..",
        "a key id that is a path": jwt.encode(claims, "x" * 64, "HS256", headers={**head, "kid": "../../etc/passwd"}),
        "9,000 bytes": alice.access + "A" * 9_000,
        "of a stranger's key": service_auth.create(
            service_key, Did(alice.did), "did:web:localhost", f"{REPO}.uploadBlob", int(time.time())
        ),
    }
    body = {"repo": alice.did, "collection": POST, "record": post()}

    async with untouched(house, alice, bobby):
        for name, token in forged.items():
            auth = {"Authorization": f"Bearer {token}"}
            answers = [
                await house.get(f"{SERVER}.getSession", auth),
                await house.post(f"{REPO}.createRecord", body, auth),
                await house.post(f"{SERVER}.deactivateAccount", {}, auth),
                await house.post(f"{REPO}.uploadBlob", headers={**auth, "Content-Type": "image/png"}, data=b"x"),
            ]
            for answer in answers:
                assert answer.status in (400, 401), (name, answer.body)
                assert answer.body["error"] in ("InvalidToken", "BadJwt", "BadJwtSignature", "AuthMissing"), (
                    name,
                    answer.body,
                )
                assert token[:40] not in answer.body["message"] or len(token) < 20, name
        for auth in ("Bearer", "Bearer ", "Basic x", "Basic YWxpY2U6cGFzc3dvcmQ=", "Digest x", "", "DPoP abc"):
            answer = await house.get(f"{SERVER}.getSession", {"Authorization": auth})
            assert answer.error == (401, "AuthMissing"), auth
        assert (await house.post(f"{SERVER}.refreshSession", None, alice.auth)).error == (400, "InvalidToken")


async def test_an_expired_token_says_so(house) -> None:
    alice = await house.join("alice")
    then = tokens_of(house, time.time() - 7_300)
    access = {"Authorization": f"Bearer {then.access(Did(alice.did))}"}
    refresh = {"Authorization": f"Bearer {then.refresh(Did(alice.did), 'x')}"}

    async with untouched(house, alice):
        assert (await house.get(f"{SERVER}.getSession", access)).error == (400, "ExpiredToken")
        assert (await house.post(f"{REPO}.createRecord", {}, access)).error == (400, "ExpiredToken")
        assert (await house.post(f"{SERVER}.refreshSession", None, refresh)).error == (400, "ExpiredToken")
    valid = {"Authorization": f"Bearer {tokens_of(house).access(Did(alice.did), Scope.ACCESS)}"}
    assert (await house.get(f"{SERVER}.getSession", valid)).status == 200


async def test_a_service_token_is_given_for_its_time_and_not_longer(house) -> None:
    alice = await house.join("alice")
    now = int(time.time())
    method = f"{REPO}.uploadBlob"

    plain = await house.get(f"{SERVER}.getServiceAuth", alice.auth, aud="did:web:localhost", lxm=method)
    claims = jwt.decode(plain.body["token"], options={"verify_signature": False})
    assert 0 <= claims["exp"] - now - SERVICE_JWT_SECONDS <= 5
    async with untouched(house, alice):
        for exp, name in ((now - 10, "BadExpiration"), (now + 3_700, "BadExpiration"), (now + 120, "BadExpiration")):
            lxm = None if exp == now + 120 else method
            answer = await house.get(f"{SERVER}.getServiceAuth", alice.auth, aud="did:web:x.test", lxm=lxm, exp=exp)
            assert answer.error == (400, name), exp
    used = {"Authorization": f"Bearer {plain.body['token']}", "Content-Type": "image/png"}
    assert (await house.post(method, headers=used, data=b"\x89PNG\r\n\x1a\n" + b"1" * 40)).status == 200
    again = await house.post(method, headers=used, data=b"\x89PNG\r\n\x1a\n" + b"2" * 40)
    assert again.status == 401
    other = await house.post(f"{REPO}.createRecord", {"repo": alice.did, "collection": POST, "record": post()}, used)
    assert other.status in (400, 401)


async def test_a_taken_handle_and_bad_ones_make_no_account(house) -> None:
    alice = await house.join("alice")
    bobby = await house.join("bobby")
    label = "l" * 63
    longest = ".".join([label, label, label, "l" * 56, "test"])
    assert len(longest) == HANDLE_MAX
    bad = {
        "alice.test": "HandleNotAvailable",
        "ALICE.test": "HandleNotAvailable",
        "admin.test": "HandleNotAvailable",
        "alice.example.com": "UnsupportedDomain",
        "al.test": "InvalidHandle",
        "a" * 26 + ".test": "InvalidHandle",
        "a.b.test": "InvalidHandle",
        longest: "InvalidHandle",
        f"l{longest}": None,
        f"l{label}.test": None,
        "": None,
        "alice": None,
        "-alice.test": None,
        "al ice.test": None,
        "älice.test": None,
        "alice.test\n": None,
        "alice..test": None,
        ".test": None,
    }

    async with untouched(house, alice, bobby):
        for handle, name in bad.items():
            body = {"handle": handle, "email": "new@example.com", "password": "password-new"}
            answer = await house.post(f"{SERVER}.createAccount", body)
            assert answer.status == 400, handle
            assert answer.body["error"] == (name or answer.body["error"]), (handle, answer.body)
            assert answer.body["error"] in (
                "HandleNotAvailable",
                "UnsupportedDomain",
                "InvalidHandle",
                "InvalidRequest",
            )
            change = await house.post(f"{IDENTITY}.updateHandle", {"handle": handle}, bobby.auth)
            assert change.status == 400, handle
        assert len((await house.get(f"{SYNC}.listRepos")).body["repos"]) == 2
    assert (await house.get(f"{IDENTITY}.resolveHandle", handle="alice.test")).body == {"did": alice.did}
    at_limit = "a" * 25 + ".test"
    taken = await house.post(
        f"{SERVER}.createAccount", {"handle": at_limit, "email": "new@example.com", "password": "password-new"}
    )
    assert taken.status == 200, taken.body


async def test_bad_accounts_of_every_other_kind_are_not_made(house) -> None:
    alice = await house.join("alice")
    good = {"handle": "carol.test", "email": "carol@example.com", "password": "password-carol"}
    bad: dict[str, dict[str, Any]] = {
        "no email": {"email": ""},
        "an email that is none": {"email": "nonsense"},
        "an email of 10,000 characters": {"email": "a" * 10_000 + "@example.com"},
        "a taken email": {"email": "ALICE@example.com"},
        "an email of two lines": {"email": "a@example.com\r\nBcc: b@example.com"},
        "a password of 1,000 characters": {"password": "x" * 1_000},
        "a DID that is not theirs": {"did": alice.did},
        "somebody's DID": {"did": "did:plc:" + "z" * 24},
        "a DID that is none": {"did": "nonsense"},
        "a DID of 2,049 characters": {"did": "did:plc:" + "z" * (DID_MAX - 7)},
        "a recovery key that is none": {"recoveryKey": "nonsense"},
        "a PLC operation": {"plcOp": {"x": 1}},
    }

    async with untouched(house, alice):
        for name, change in bad.items():
            answer = await house.post(f"{SERVER}.createAccount", {**good, **change})
            assert answer.status in (400, 401), (name, answer.body)
        assert len((await house.get(f"{SYNC}.listRepos")).body["repos"]) == 1
    assert (await house.post(f"{SERVER}.createAccount", good)).status == 200


@pytest.mark.parametrize("size", [DID_MAX, DID_MAX + 1])
async def test_a_did_of_2048_characters_is_not_found_and_one_more_is_no_did(house, size: int) -> None:
    did = "did:plc:" + "z" * (size - 8)

    answer = await house.get(f"{REPO}.describeRepo", repo=did)

    assert answer.status == 400
    assert ("must be a valid did" in answer.body["message"]) == (size > DID_MAX), answer.body
    head = await raw(house, b"GET /xrpc/" + f"{SYNC}.getRepo?did={did}".encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert head.split(b" ", 2)[1] == b"400"


async def test_wrong_logins_all_look_alike(house) -> None:
    alice = await house.join("alice")
    async with untouched(house, alice):
        answers = [
            await house.post(f"{SERVER}.createSession", {"identifier": identifier, "password": password})
            for identifier in (
                "alice.test",
                alice.did,
                "alice@example.com",
                "nobody.test",
                "did:plc:nobody",
                "",
                "x" * 9_000,
            )
            for password in ("wrong", "", "x" * 10_000)
        ]
    assert {answer.error for answer in answers} == {(401, "AuthenticationRequired")}
    assert len({answer.body["message"] for answer in answers}) == 1
