from __future__ import annotations

import base64
import hashlib
import hmac

import orjson
import pytest

from ingest.identity.did_doc import DidDocument
from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.service_auth import MAX_LIFETIME, SKEW, ReplayGuard, create, unverified_method, verify
from ingest.repo import p256
from ingest.repo.keys import PrivateKey
from schemas.errors import XrpcError
from schemas.syntax import Did

ISS, AUD, LXM, NOW = (
    Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"),
    "did:web:api.test",
    "app.bsky.feed.getTimeline",
    1_700_000_000,
)
AUDIENCES = (AUD, f"{AUD}#bsky_appview")
KEY = PrivateKey.generate()


class Known:
    """Documents by DID; `stale` is what is answered until a refresh is asked for."""

    def __init__(self, key, stale=None):
        self.keys = {ISS: (stale or key, key)}
        self.asked = []

    async def did_document(self, did, *, refresh=False):
        self.asked.append(refresh)
        if did not in self.keys:
            raise IdentityRefused(IdentityReason.NOT_FOUND, did)
        key = self.keys[did][refresh]
        return DidDocument(did, (), None if key is None else key.public, None, ())


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(key=KEY, header=None, sign=None, **claims):
    """A token of arbitrary header and claims; `sign` replaces the signature of `key`."""
    whole = {"iss": ISS, "aud": AUD, "exp": NOW + 60, "iat": NOW, "jti": "one", "lxm": LXM} | claims
    head = {"typ": "JWT", "alg": {"k256": "ES256K", "p256": "ES256"}[key.curve]} | (header or {})
    body = f"{b64(orjson.dumps(head))}.{b64(orjson.dumps({k: v for k, v in whole.items() if v is not ...}))}"
    return f"{body}.{b64((sign or key.sign)(body.encode()))}"


async def outcome(token, resolver=None, now=NOW, replays=None):
    with pytest.raises(XrpcError) as error:
        await verify(token, AUDIENCES, LXM, resolver or Known(KEY), now, replays=replays or ReplayGuard())
    return error.value.name, error.value.status


@pytest.mark.parametrize("curve", ["k256", "p256"])
@pytest.mark.parametrize("aud", AUDIENCES)
async def test_a_token_that_was_made_verifies_as_its_issuer(curve, aud):
    key = PrivateKey.generate(curve)

    token = create(key, ISS, aud, LXM, NOW)

    assert await verify(token, AUDIENCES, LXM, Known(key), NOW + 60, replays=ReplayGuard()) == ISS
    assert unverified_method(token) == LXM


async def test_a_token_lives_sixty_seconds_unless_told_otherwise():
    token = create(KEY, ISS, AUD, LXM, NOW)

    assert await outcome(token, now=NOW + 61) == ("JwtExpired", 401)


async def test_a_token_works_once():
    replays, token = ReplayGuard(), create(KEY, ISS, AUD, LXM, NOW)
    await verify(token, AUDIENCES, LXM, Known(KEY), NOW, replays=replays)

    assert await outcome(token, replays=replays) == ("JwtReplayed", 401)


async def test_a_refused_token_is_not_counted_as_used():
    replays = ReplayGuard()
    await outcome(forge(sign=lambda _: bytes(64)), replays=replays)

    assert len(replays) == 0


async def test_a_rotated_key_is_found_by_one_refresh():
    resolver = Known(KEY, stale=PrivateKey.generate())

    assert await verify(create(KEY, ISS, AUD, LXM, NOW), AUDIENCES, LXM, resolver, NOW, replays=ReplayGuard()) == ISS
    assert resolver.asked == [False, True]


def _high_s(message):
    signature = PrivateKey.from_bytes("p256", b"\x01" * 32).sign(message)
    return signature[:32] + (p256.ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")


def raw(payload):
    return ".".join(map(b64, (b'{"alg":"ES256K"}', payload, bytes(64))))


P256 = PrivateKey.from_bytes("p256", b"\x01" * 32)
BAD = {
    "not a jwt": ("abc", "BadJwt"),
    "four parts": (forge() + ".x", "BadJwt"),
    "not base64": (forge().replace(".", ".!", 1), "BadJwt"),
    "padded": (forge() + "==", "BadJwt"),
    "not ascii": (forge()[:-1] + "é", "BadJwt"),
    "payload an array": (raw(b"[]"), "BadJwt"),
    "payload nested deep": (raw(b"[" * 1500), "BadJwt"),
    "oversize": (forge(more="x" * 4096), "BadJwt"),
    "alg none": (forge(header={"alg": "none"}, sign=lambda _: b""), "BadJwt"),
    "alg None": (forge(header={"alg": None}), "BadJwt"),
    "alg a list": (forge(header={"alg": ["ES256K"]}), "BadJwt"),
    "alg hmac by the public key": (
        forge(header={"alg": "HS256"}, sign=lambda m: hmac.digest(KEY.public.did_key.encode(), m, hashlib.sha256)),
        "BadJwt",
    ),
    "alg of the other curve": (forge(header={"alg": "ES256"}), "BadJwtSignature"),
    "the other curve's key": (forge(key=P256), "BadJwtSignature"),
    "access token": (forge(header={"typ": "at+jwt"}), "BadJwtType"),
    "refresh token": (forge(header={"typ": "refresh+jwt"}), "BadJwtType"),
    "dpop proof": (forge(header={"typ": "DPoP+JWT"}), "BadJwtType"),
    "critical header": (forge(header={"crit": ["exp"]}), "BadJwt"),
    "detached payload": (forge(header={"b64": False, "crit": ["b64"]}), "BadJwt"),
    "critical header that is understood": (forge(header={"b64": True, "crit": ["b64"]}), "BadJwt"),
    "another key id": (forge(header={"kid": "#atproto_label"}), "BadJwt"),
    "kid no text": (forge(header={"kid": 1}), "BadJwt"),
    "wrong key": (forge(key=PrivateKey.generate()), "BadJwtSignature"),
    "signature cut": (forge(sign=lambda m: KEY.sign(m)[:63]), "BadJwtSignature"),
    "signature empty": (forge(sign=lambda _: b""), "BadJwtSignature"),
    "expired": (forge(exp=NOW - 1), "JwtExpired"),
    "no exp": (forge(exp=...), "BadJwt"),
    "exp a text": (forge(exp="9999999999"), "BadJwt"),
    "exp true": (forge(exp=True), "BadJwt"),
    "lives too long": (forge(exp=NOW + MAX_LIFETIME + SKEW + 1), "BadJwt"),
    "from the future": (forge(iat=NOW + SKEW + 1), "BadJwt"),
    "not before": (forge(nbf=NOW + SKEW + 1), "BadJwt"),
    "wrong aud": (forge(aud="did:web:other.test"), "BadJwtAudience"),
    "aud of another service here": (forge(aud=f"{AUD}#atproto_labeler"), "BadJwtAudience"),
    "aud a list": (forge(aud=[AUD]), "BadJwt"),
    "no aud": (forge(aud=...), "BadJwt"),
    "wrong lxm": (forge(lxm="app.bsky.feed.getAuthorFeed"), "BadJwtLexiconMethod"),
    "no lxm": (forge(lxm=...), "BadJwtLexiconMethod"),
    "no jti": (forge(jti=...), "BadJwt"),
    "jti long": (forge(jti="x" * 129), "BadJwt"),
    "no iss": (forge(iss=...), "BadJwt"),
    "iss with a service": (forge(iss=f"{ISS}#atproto_labeler"), "UntrustedIss"),
    "iss no did": (forge(iss="alice.test"), "UntrustedIss"),
    "iss unknown": (forge(iss="did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"), "BadJwtSignature"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_token_is_refused_by_name(case):
    token, name = BAD[case]

    assert await outcome(token) == (name, 401)


async def test_the_forger_makes_good_tokens_when_told_nothing_bad():
    assert await verify(forge(), AUDIENCES, LXM, Known(KEY), NOW, replays=ReplayGuard()) == ISS
    assert await verify(forge(key=P256), AUDIENCES, LXM, Known(P256), NOW, replays=ReplayGuard()) == ISS
    limit = forge(exp=NOW + MAX_LIFETIME + SKEW, iat=NOW + SKEW, header={"kid": f"{ISS}#atproto"})
    assert await verify(limit, AUDIENCES, LXM, Known(KEY), NOW, replays=ReplayGuard()) == ISS


async def test_a_high_s_signature_is_refused():
    assert await outcome(forge(key=P256, sign=_high_s), Known(P256)) == ("BadJwtSignature", 401)


async def test_claims_that_do_not_hold_cost_no_resolution():
    resolver = Known(KEY)

    await outcome(forge(exp=NOW - 1), resolver)
    await outcome(forge(aud="did:web:other.test"), resolver)

    assert resolver.asked == []


async def test_an_issuer_without_a_key_is_refused():
    resolver = Known(KEY)
    resolver.keys[ISS] = (None, None)

    assert await outcome(forge(), resolver) == ("BadJwtSignature", 401)


def test_the_replay_guard_forgets_what_has_expired_and_refuses_when_full():
    replays = ReplayGuard(limit=3, limit_of_one=2)
    replays.use("a", "1", NOW + 10, NOW)
    replays.use("a", "2", NOW + 60, NOW)
    with pytest.raises(XrpcError) as one:
        replays.use("a", "3", NOW + 60, NOW)
    replays.use("b", "1", NOW + 60, NOW)
    with pytest.raises(XrpcError) as all_:
        replays.use("c", "1", NOW + 60, NOW)
    replays.use("a", "3", NOW + 100, NOW + 11 + SKEW)

    assert (one.value.status, all_.value.status, len(replays)) == (429, 429, 3)
