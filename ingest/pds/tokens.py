"""Session tokens: HS256 JWTs with the reference's `typ`, claims and error names.

Access: `at+jwt`, scope com.atproto.access (com.atproto.takendown for an account under takedown), 2 h.
Refresh: `refresh+jwt`, scope com.atproto.refresh, `jti`, 90 d. Does not own rotation or revocation (sessions.py).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jwt

from ingest.pds.refusals import expired_token, invalid_token
from schemas.syntax import Did

_ALGORITHM = "HS256"
_ACCESS_TYPE = "at+jwt"
_REFRESH_TYPE = "refresh+jwt"
_CACHE_SIZE = 20_000
_TOKEN_MAX = 8192
_CLAIMS = ["exp", "iat", "sub", "scope", "aud"]


class Scope(StrEnum):
    ACCESS = "com.atproto.access"
    REFRESH = "com.atproto.refresh"
    TAKENDOWN = "com.atproto.takendown"


ACCESS_SCOPES = frozenset({Scope.ACCESS.value})
TAKENDOWN_SCOPES = frozenset({Scope.ACCESS.value, Scope.TAKENDOWN.value})


@dataclass(frozen=True, slots=True)
class Auth:
    """Whom a token speaks for. `expires` is unix seconds; `token_id` only stands on refresh tokens."""

    did: Did
    scope: str
    expires: int
    token_id: str | None = None


class Tokens:
    """Mints and reads session tokens; `now` gives unix seconds."""

    def __init__(
        self, secret: bytes, service_did: str, access_ttl: int, refresh_ttl: int, now: Callable[[], float]
    ) -> None:
        self._secret = secret
        self._audience = service_did
        self._access_ttl = access_ttl
        self._refresh_ttl = refresh_ttl
        self._now = now
        self._verified: OrderedDict[str, Auth] = OrderedDict()

    def access(self, did: Did, scope: Scope = Scope.ACCESS) -> str:
        return self._mint(_ACCESS_TYPE, {"scope": scope.value, "sub": did}, self._access_ttl)

    def refresh(self, did: Did, token_id: str) -> str:
        claims = {"scope": Scope.REFRESH.value, "sub": did, "jti": token_id}
        return self._mint(_REFRESH_TYPE, claims, self._refresh_ttl)

    def _mint(self, kind: str, claims: dict[str, Any], ttl: int) -> str:
        issued = int(self._now())
        payload = claims | {"aud": self._audience, "iat": issued, "exp": issued + ttl}
        return jwt.encode(payload, self._secret, _ALGORITHM, headers={"typ": kind})

    def verify_access(self, token: str, scopes: frozenset[str] = ACCESS_SCOPES) -> Auth:
        """HOT: a token seen before costs one look-up. Raises XrpcError InvalidToken or ExpiredToken."""
        auth = self._verified.get(token)
        if auth is None:
            auth = self._read(token, _ACCESS_TYPE)
            self._verified[token] = auth
            if len(self._verified) > _CACHE_SIZE:
                self._verified.popitem(last=False)
        if auth.expires <= self._now():
            self._verified.pop(token, None)
            raise expired_token()
        if auth.scope not in scopes:
            raise invalid_token("Bad token scope")
        return auth

    def verify_refresh(self, token: str, *, allow_expired: bool = False) -> Auth:
        """Raises XrpcError InvalidToken or ExpiredToken."""
        auth = self._read(token, _REFRESH_TYPE)
        if auth.expires <= self._now() and not allow_expired:
            raise expired_token()
        if auth.scope != Scope.REFRESH.value:
            raise invalid_token("Bad token scope")
        if auth.token_id is None:
            raise invalid_token("Unexpected missing refresh token id")
        return auth

    def _read(self, token: str, kind: str) -> Auth:
        if len(token) > _TOKEN_MAX:
            raise invalid_token()
        try:
            # `exp` is judged by the caller, by our clock.
            decoded = jwt.decode_complete(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                audience=self._audience,
                options={"require": _CLAIMS, "verify_exp": False, "verify_iat": False},
            )
        except jwt.PyJWTError as error:
            raise invalid_token() from error
        claims = decoded["payload"]
        # The header's type keeps a refresh token, or another service's JWT made with this secret, from passing.
        if decoded["header"].get("typ") != kind:
            raise invalid_token()
        expires, subject, token_id = claims["exp"], claims["sub"], claims.get("jti")
        if not isinstance(expires, int) or not Did.is_valid(subject) or not isinstance(token_id, str | None):
            raise invalid_token("Malformed token")
        return Auth(Did(subject), str(claims["scope"]), expires, token_id)
