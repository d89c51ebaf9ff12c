"""Service tokens: short JWTs that an account's own key signs for one method of one service.

https://atproto.com/specs/xrpc#inter-service-authentication-jwt; error names as the reference's. Bounded: keys are
cached by the resolver, used `jti`s until they expire. Does not own issuing (`com.atproto.server.getServiceAuth`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import orjson

from api.xrpc import Credentials, Kind
from ingest.repo.keys import PublicKey
from schemas.errors import XrpcError
from schemas.syntax import Did, SyntaxRefused

# The algorithm each curve signs with: a token cannot choose another than its key's.
_ALGORITHMS = {"k256": "ES256K", "p256": "ES256"}
_FORBIDDEN_TYPES = frozenset({"at+jwt", "refresh+jwt", "dpop+jwt"})
_TOKEN_MAX = 8192
_LIFETIME_MAX = 3600  # what the reference's getServiceAuth grants at most, seconds
_SEEN_MAX = 100_000

# (DID, whether to ask anew instead of the cache) -> the account's #atproto key. Raises XrpcError.
SigningKey = Callable[[Did, bool], Awaitable[PublicKey]]


class ServiceTokens:
    """`verify` accepts a token once; `now` gives unix seconds."""

    def __init__(self, audiences: Collection[str], signing_key: SigningKey, now: Callable[[], float]) -> None:
        self._audiences = frozenset(audiences)
        self._signing_key = signing_key
        self._now = now
        self._seen: dict[tuple[str, str], float] = {}

    async def verify(self, token: str, nsid: str) -> Credentials:
        """The credential of the account that issued `token` for `nsid`. Raises XrpcError (401)."""
        if len(token) > _TOKEN_MAX or token.count(".") != 2:
            raise _refused("BadJwt", "poorly formatted jwt")
        signed, _, signature_part = token.rpartition(".")
        header_part, _, payload_part = signed.partition(".")
        header, claims = _json_part(header_part), _json_part(payload_part)
        if header.get("typ") in _FORBIDDEN_TYPES:
            raise _refused("BadJwtType", f'Invalid jwt type "{header["typ"]}"')
        issuer, audience, expires = claims.get("iss"), claims.get("aud"), claims.get("exp")
        if not isinstance(issuer, str) or not isinstance(audience, str) or not isinstance(expires, int | float):
            raise _refused("BadJwt", "poorly formatted jwt")
        now = self._now()
        if now > expires:
            raise _refused("JwtExpired", "jwt expired")
        if expires > now + _LIFETIME_MAX:
            raise _refused("BadJwt", f"jwt must not live longer than {_LIFETIME_MAX} seconds")
        if audience not in self._audiences:
            raise _refused("BadJwtAudience", "jwt audience does not match service did")
        method = claims.get("lxm")
        if method != nsid:
            what = "missing" if method is None else "bad"
            raise _refused("BadJwtLexiconMethod", f'{what} jwt lexicon method ("lxm"). must match: {nsid}')
        try:
            did = Did.parse(issuer.partition("#")[0])
        except SyntaxRefused:
            raise _refused("BadJwtIss", "jwt iss is not a valid did") from None
        await self._check_signature(did, header.get("alg"), signed.encode(), _bytes_part(signature_part))
        self._take_once(did, claims.get("jti"), float(expires), now)
        return Credentials(Kind.SERVICE, did, "", str(claims.get("jti", "")), token)

    async def _check_signature(self, did: Did, algorithm: object, message: bytes, signature: bytes) -> None:
        for fresh in (False, True):  # the key may have been rotated since it was cached
            key = await self._signing_key(did, fresh)
            if algorithm == _ALGORITHMS[key.curve] and key.verify(message, signature):
                return
        raise _refused("BadJwtSignature", "jwt signature does not match jwt issuer")

    def _take_once(self, did: Did, jti: object, expires: float, now: float) -> None:
        if jti is None:  # older clients send none; the specification will demand it
            return
        if not isinstance(jti, str) or len(jti) > 256:
            raise _refused("BadJwt", "poorly formatted jwt")
        place = (did, jti)
        if place in self._seen:
            raise _refused("BadJwt", "jwt was used before (jti)")
        if len(self._seen) >= _SEEN_MAX:
            self._seen = {place: until for place, until in self._seen.items() if until > now}
            if len(self._seen) >= _SEEN_MAX:
                raise XrpcError("NotEnoughResources", "Too many service tokens at once; try again", 503)
        self._seen[place] = expires


def claims_unverified(token: str) -> dict[str, Any]:
    """The payload of what may be a JWT, for choosing who shall judge it; empty when it is none."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > _TOKEN_MAX:
        return {}
    try:
        return _json_part(parts[1])
    except XrpcError:
        return {}


def _json_part(part: str) -> dict[str, Any]:
    try:
        value = orjson.loads(_bytes_part(part))
    except orjson.JSONDecodeError:
        raise _refused("BadJwt", "poorly formatted jwt") from None
    if not isinstance(value, dict):
        raise _refused("BadJwt", "poorly formatted jwt")
    return value


def _bytes_part(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise _refused("BadJwt", "poorly formatted jwt") from None


def _refused(name: str, message: str) -> XrpcError:
    return XrpcError(name, message, 401)
