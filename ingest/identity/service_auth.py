"""Inter-service tokens: one account's key signs that it calls one method of one service, once, within a minute.

https://atproto.com/specs/xrpc#inter-service-authentication-jwt. Error names and messages are the reference's
(xrpc-server, auth.ts); `JwtReplayed` has no counterpart there. Replays are tracked in one process: a service of
several processes gives each account to one of them, or accepts that a token works once in each for its minute.
Does not own keys' bytes (jws.py) nor who may call what.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection
from os import urandom
from typing import Any

import jwt
import orjson

from ingest.identity.jws import ALGORITHMS, jws
from ingest.identity.reasons import IdentityRefused
from ingest.identity.resolver import DidResolver
from ingest.repo.keys import PrivateKey, PublicKey
from schemas.errors import XrpcError
from schemas.limits import SERVICE_JWT_SECONDS
from schemas.syntax import Did

MAX_TOKEN = 4096
MAX_JTI = 128
MAX_LIFETIME = 3600  # what com.atproto.server.getServiceAuth grants at most
SKEW = 30
REPLAYS = 200_000
REPLAYS_OF_ONE = 2_000

_FOREIGN_TYPES = frozenset(("at+jwt", "refresh+jwt", "dpop+jwt"))
_JWS = jws()


class ReplayGuard:
    """The tokens that were used and have not expired; full means refused, in all and for one issuer."""

    def __init__(self, limit: int = REPLAYS, limit_of_one: int = REPLAYS_OF_ONE) -> None:
        self._limit = limit
        self._limit_of_one = limit_of_one
        self._seen: set[tuple[str, str]] = set()
        self._expiry: list[tuple[float, str, str]] = []
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._seen)

    def use(self, iss: str, jti: str, exp: float, now: float) -> None:
        """Raises XrpcError when this token was used before, or when too many are remembered."""
        while self._expiry and self._expiry[0][0] < now - SKEW:
            _, issuer, used = heapq.heappop(self._expiry)
            self._seen.discard((issuer, used))
            self._counts[issuer] -= 1
            if not self._counts[issuer]:
                del self._counts[issuer]
        if (iss, jti) in self._seen:
            raise XrpcError("JwtReplayed", "jwt was already used", 401)
        if len(self._seen) >= self._limit or self._counts[iss] >= self._limit_of_one:
            raise XrpcError("RateLimitExceeded", "too many service tokens in use; try later", 429)
        self._seen.add((iss, jti))
        self._counts[iss] += 1
        heapq.heappush(self._expiry, (exp, iss, jti))


def create(  # noqa: PLR0917 - the claims, in the order they are spoken of
    key: PrivateKey,
    iss: Did,
    aud: str,
    lxm: str | None,
    now: float,
    lifetime: float = SERVICE_JWT_SECONDS,
) -> str:
    """A token by which `iss`, whose #atproto key is `key`, calls method `lxm` of service `aud`; times in seconds."""
    claims = {"iat": int(now), "iss": iss, "aud": aud, "exp": int(now + lifetime), "jti": urandom(16).hex()}
    if lxm is not None:
        claims["lxm"] = lxm
    signing: Any = key  # PyJWT names only its own algorithms' keys
    return _JWS.encode(orjson.dumps(claims), signing, ALGORITHMS[key.curve])


async def verify(
    token: str,
    audiences: Collection[str],
    lxm: str,
    resolver: DidResolver,
    now: float,
    *,
    replays: ReplayGuard,
) -> Did:
    """The account that made the call. `audiences` are the forms of this service's DID, with and without #fragment.

    Raises XrpcError(401) with the reference's names. Nothing is fetched for a token whose claims do not hold.
    """
    claims = _open(token)
    iss, jti, exp = _check(claims, audiences, lxm, now)
    key = await _key(resolver, iss)
    if not _signed(token, key):
        # The key may have been rotated since the document was cached.
        fresh = await _key(resolver, iss, refresh=True)
        if fresh == key or not _signed(token, fresh):
            raise XrpcError("BadJwtSignature", "jwt signature does not match jwt issuer", 401)
    replays.use(iss, jti, exp, now)
    return iss


def unverified_method(token: str) -> str | None:
    """The `lxm` a token claims, for logs and limits; proves nothing."""
    try:
        found = _open(token).get("lxm")
    except XrpcError:
        return None
    return found if isinstance(found, str) else None


def _open(token: str) -> dict[str, Any]:
    if len(token) > MAX_TOKEN or token.count(".") != 2 or not token.isascii():
        raise _bad("poorly formatted jwt")
    try:
        whole = _JWS.decode_complete(token, options={"verify_signature": False})
        claims = orjson.loads(whole["payload"])
    except (jwt.PyJWTError, ValueError) as error:
        raise _bad("poorly formatted jwt") from error
    header = whole["header"]
    if not isinstance(claims, dict) or "=" in token:
        raise _bad("poorly formatted jwt")
    kind = header.get("typ")
    if isinstance(kind, str) and kind.lower() in _FOREIGN_TYPES:
        raise XrpcError("BadJwtType", f'Invalid jwt type "{kind}"', 401)
    if header.get("alg") not in ALGORITHMS.values() or "crit" in header or "b64" in header:
        raise _bad("unsupported jwt algorithm or header")
    if header.get("kid", "#atproto").rpartition("#")[2] != "atproto":
        raise _bad("only the issuer's #atproto key signs here")
    return claims


def _check(claims: dict[str, Any], audiences: Collection[str], lxm: str, now: float) -> tuple[Did, str, float]:
    iss, aud, jti, exp = claims.get("iss"), claims.get("aud"), claims.get("jti"), _time(claims, "exp")
    if not isinstance(iss, str) or not isinstance(aud, str) or exp is None:
        raise _bad("poorly formatted jwt")
    if now > exp:
        raise XrpcError("JwtExpired", "jwt expired", 401)
    if exp > now + MAX_LIFETIME + SKEW:
        raise _bad(f"jwt lives longer than {MAX_LIFETIME} seconds")
    for name in ("iat", "nbf"):
        if name in claims and ((since := _time(claims, name)) is None or since > now + SKEW):
            raise _bad(f"jwt is not valid yet ({name})")
    if aud not in audiences:
        raise XrpcError("BadJwtAudience", "jwt audience does not match service did", 401)
    if claims.get("lxm") != lxm:
        found = "missing" if claims.get("lxm") is None else "bad"
        raise XrpcError("BadJwtLexiconMethod", f'{found} jwt lexicon method ("lxm"). must match: {lxm}', 401)
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI:
        raise _bad(f"a jwt needs a jti of at most {MAX_JTI} characters")
    if not Did.is_valid(iss):
        # A service of an account (did#fragment) signs with another key, which nothing here is addressed by.
        raise XrpcError("UntrustedIss", "Untrusted issuer", 401)
    return Did(iss), jti, exp


def _time(claims: dict[str, Any], name: str) -> float | None:
    value: Any = claims.get(name)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and 0 <= value < 2**53 else None


async def _key(resolver: DidResolver, iss: Did, *, refresh: bool = False) -> PublicKey:
    try:
        document = await resolver.did_document(iss, refresh=refresh)
    except IdentityRefused as refused:
        raise XrpcError("BadJwtSignature", "could not resolve jwt issuer", 401) from refused
    if document.signing_key is None:
        raise XrpcError("BadJwtSignature", "jwt issuer has no signing key", 401)
    return document.signing_key


def _signed(token: str, key: PublicKey) -> bool:
    """Whether `key` signed, by its own algorithm: the header may not choose another (jws.py ties it to the curve)."""
    verifying: Any = key
    try:
        _JWS.decode(token, verifying, algorithms=[ALGORITHMS[key.curve]])
    except jwt.PyJWTError:
        return False
    return True


def _bad(message: str) -> XrpcError:
    return XrpcError("BadJwt", message, 401)
