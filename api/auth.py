"""Who is calling: the Authorization header, read as the endpoint's auth mode says.

Session tokens are judged by `ingest.pds.tokens`, service tokens by `ingest.identity.service_auth`. Does not own whether
an account may do what it asks (the domain), nor where tokens come from.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Collection

from api.errors import auth_missing, auth_required
from api.xrpc import Auth, Credentials, Kind
from ingest.identity import service_auth
from ingest.identity.resolver import DidResolver
from ingest.pds.tokens import ACCESS_SCOPES, TAKENDOWN_SCOPES, Tokens
from schemas.errors import XrpcError

_ADMIN = Credentials(Kind.ADMIN)
# A read's service token is believed this long without looking again: within the skew that clocks are granted anyway.
_REMEMBERED_SECONDS = 20.0
_REMEMBERED = 20_000
_NO_SESSIONS = "Sessions are held by a PDS: call it, or show a service token"


class _Reusable(service_auth.ReplayGuard):
    """For queries: to ask twice changes nothing."""

    def use(self, iss: str, jti: str, exp: float, now: float) -> None:
        pass


class Authenticator:
    """`verify` gives the credential that a mode demands, or None where a mode lets nobody in particular call.

    `audiences` are the names service tokens may address this server by; `tokens` are None where no sessions are held,
    `resolver` where no service tokens are, `admin_token` is empty where there is no admin; `now` gives unix seconds.
    """

    def __init__(
        self,
        tokens: Tokens | None,
        resolver: DidResolver | None,
        audiences: Collection[str],
        admin_token: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = tokens
        self._resolver = resolver
        self._audiences = frozenset(audiences)
        self._admin = admin_token.encode()
        self._now = now
        self._replays = service_auth.ReplayGuard()
        self._reusable = _Reusable()
        self._reads: OrderedDict[tuple[str, str], tuple[float, Credentials]] = OrderedDict()

    async def verify(
        self, mode: Auth, nsid: str, authorization: str | None, *, reads: bool = False
    ) -> Credentials | None:
        """Raises XrpcError: 401 when a credential is missing or not enough, 400 for a session token that is broken.

        A service token works once, but for a query (`reads`) as often as its caller likes until it expires.
        """
        if mode is Auth.NONE:
            return None
        scheme, _, value = (authorization or "").partition(" ")
        scheme, value = scheme.lower(), value.strip()
        bearer = value if scheme == "bearer" and value else None
        match mode:
            case Auth.OPTIONAL:
                if bearer is None:
                    return None
                return await self._session_or_service(bearer, nsid, reads=reads)
            case Auth.ACCESS | Auth.FULL:
                return self._session(_shown(bearer))
            case Auth.TAKENDOWN:
                return self._session(_shown(bearer), TAKENDOWN_SCOPES)
            case Auth.REFRESH | Auth.REFRESH_EXPIRED:
                return self._refresh(_shown(bearer), allow_expired=mode is Auth.REFRESH_EXPIRED)
            case Auth.SERVICE:
                return await self._service(_shown(bearer), nsid, reads=reads)
            case Auth.SERVICE_OPTIONAL:
                return None if bearer is None else await self._service(bearer, nsid, reads=reads)
            case Auth.ACCESS_OR_SERVICE:
                return await self._session_or_service(_shown(bearer), nsid, reads=reads)
            case Auth.ADMIN:
                return self._basic(scheme, value)
            case Auth.ACCESS_OR_ADMIN_OPTIONAL:
                if bearer is not None:
                    return self._session(bearer)
                return self._basic(scheme, value) if scheme == "basic" else None

    async def _session_or_service(self, token: str, nsid: str, *, reads: bool) -> Credentials:
        known = self._reads.get((nsid, token))
        if known is not None and known[0] > self._now():
            return known[1]
        if self._tokens is None:
            return await self._service(token, nsid, reads=reads)
        try:
            return self._session(token)
        except XrpcError:
            # Session tokens say no method; whoever says one meant a service token and gets its errors.
            if service_auth.unverified_method(token) is None:
                raise
        return await self._service(token, nsid, reads=reads)

    async def _service(self, token: str, nsid: str, *, reads: bool) -> Credentials:
        if self._resolver is None:
            raise auth_required("Nobody in particular is let in here")
        now = self._now()
        replays = self._reusable if reads else self._replays
        did = await service_auth.verify(token, self._audiences, nsid, self._resolver, now, replays=replays)
        found = Credentials(Kind.SERVICE, did, token=token)
        if reads:
            self._reads[nsid, token] = (now + _REMEMBERED_SECONDS, found)
            if len(self._reads) > _REMEMBERED:
                self._reads.popitem(last=False)
        return found

    def _session(self, token: str, scopes: frozenset[str] = ACCESS_SCOPES) -> Credentials:
        if self._tokens is None:
            raise auth_required(_NO_SESSIONS)
        found = self._tokens.verify_access(token, scopes)
        return Credentials(Kind.ACCESS, found.did, found.scope, "", token)

    def _refresh(self, token: str, *, allow_expired: bool) -> Credentials:
        if self._tokens is None:
            raise auth_required(_NO_SESSIONS)
        found = self._tokens.verify_refresh(token, allow_expired=allow_expired)
        return Credentials(Kind.REFRESH, found.did, found.scope, found.token_id or "", token)

    def _basic(self, scheme: str, value: str) -> Credentials:
        if scheme != "basic":
            raise auth_missing()
        try:
            user, _, password = base64.b64decode(value, validate=True).partition(b":")
        except binascii.Error:
            raise auth_required() from None
        if not self._admin or not (hmac.compare_digest(user, b"admin") and hmac.compare_digest(password, self._admin)):
            raise auth_required()
        return _ADMIN


def _shown(bearer: str | None) -> str:
    if bearer is None:
        raise auth_missing()
    return bearer
