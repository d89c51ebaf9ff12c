"""The relay's connections to other people's hosts: firehoses, repos, whether a host is a PDS.

Every socket passes the address guard when it is made. A firehose is not redirected, not compressed and has messages of
at most `FRAME_MAX`; a host that says nothing, not even to a ping, is given up. Does not own when to connect
(`ingest.relay.subscription`) nor what frames say.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp
import orjson

from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.ssrf import AddressGuard, BlockedAddress
from ingest.relay.directory import RELAY_SERVER
from ingest.relay.reasons import RelayReason
from ingest.repo.reasons import RepoReason
from schemas.errors import Refused
from schemas.limits import FRAME_MAX
from schemas.syntax import Did

_CONNECT_SECONDS = 15.0
_PING_SECONDS = 30.0
_REPO_SECONDS = 900.0
_STALL_SECONDS = 30.0
_REDIRECTS = 3
_PIECE = 256 * 1024
_DESCRIPTION = 65_536
_HEADERS = {"User-Agent": "headrace", "Accept-Encoding": "identity"}


class Outgoing:
    """`private` lets http and private addresses in (a laboratory). `name` is what `Via` says of us."""

    def __init__(
        self,
        guard: AddressGuard,
        *,
        private: bool = False,
        ping_seconds: float = _PING_SECONDS,
        stall_seconds: float = _STALL_SECONDS,
    ) -> None:
        self._guard = guard
        self._schemes = ("https", "http") if private else ("https",)
        self._ping = ping_seconds
        self._stall = stall_seconds
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    @asynccontextmanager
    async def subscribe(self, url: str, cursor: int | None, *, upstream: bool) -> AsyncIterator[AsyncIterator[bytes]]:
        """The frames of `url`'s firehose after `cursor`. Raises Refused: HOST_*, FRAME_SIZE, an IdentityReason.

        The iterator ends by HOST_CLOSED. A host that calls itself a relay is refused unless it is to be one.
        """
        query = "" if cursor is None else "?" + urlencode({"cursor": cursor})
        address = f"{url.rstrip('/')}/xrpc/com.atproto.sync.subscribeRepos{query}"
        session = self._session("upstream" if upstream else "hosts")
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                socket = await session.ws_connect(
                    address,
                    autoping=False,
                    max_msg_size=FRAME_MAX,
                    timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _refusal(error, url) from error
        try:
            yield self._frames(socket, url)
        finally:
            await socket.close()

    async def pieces(self, url: str, did: Did) -> AsyncIterator[bytes]:
        """The CAR of an account's repo. Raises Refused: REPO_*, an IdentityReason."""
        address = f"{url.rstrip('/')}/xrpc/com.atproto.sync.getRepo?{urlencode({'did': did})}"
        session = self._session("repos")
        try:
            async with asyncio.timeout(_REPO_SECONDS):
                for _ in range(_REDIRECTS + 1):
                    if urlsplit(address).scheme not in self._schemes:
                        raise IdentityRefused(IdentityReason.SCHEME, f"redirected to {address[:200]}")
                    async with session.get(address, allow_redirects=False) as response:
                        if response.status in {301, 302, 303, 307, 308} and "Location" in response.headers:
                            address = urljoin(address, response.headers["Location"])
                            continue
                        if response.status != 200:
                            raise Refused(RelayReason.REPO_STATUS, f"HTTP {response.status} for the repo of {did}")
                        async for piece in response.content.iter_chunked(_PIECE):
                            yield piece
                        return
        except TimeoutError as error:
            raise Refused(RelayReason.REPO_SLOW, f"the repo of {did} did not come in time from {url}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            refused = _refusal(error, url)
            if refused.reason is RelayReason.HOST_UNREACHABLE:
                refused = Refused(RelayReason.REPO_UNREACHABLE, refused.detail)
            raise refused from error
        raise Refused(RelayReason.HOST_REDIRECTS, f"more than {_REDIRECTS} redirects for the repo of {did}")

    async def check_pds(self, url: str) -> None:
        """Raises Refused unless a PDS answers there: HOST_NO_PDS, HOST_UNREACHABLE, HOST_IS_RELAY."""
        address = f"{url.rstrip('/')}/xrpc/com.atproto.server.describeServer"
        try:
            async with (
                asyncio.timeout(_CONNECT_SECONDS),
                self._session("hosts").get(address, allow_redirects=False) as response,
            ):
                body = await _read(response, _DESCRIPTION) if response.status == 200 else b""
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _refusal(error, url) from error
        try:
            found = orjson.loads(body or b"null")
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("did"), str):
            raise Refused(RelayReason.HOST_NO_PDS, f"{url}: describeServer gives no server's DID")

    async def _frames(self, socket: aiohttp.ClientWebSocketResponse, url: str) -> AsyncIterator[bytes]:
        asked = False
        kinds = aiohttp.WSMsgType
        while True:
            try:
                message = await socket.receive(timeout=self._ping)
            except TimeoutError:
                if asked:
                    raise Refused(RelayReason.HOST_SILENT, f"{url} answers no ping") from None
                asked = True
                await self._tell(socket.ping(), url)
                continue
            except (aiohttp.ClientError, OSError) as error:
                raise Refused(RelayReason.HOST_CLOSED, f"{url}: {type(error).__name__}") from error
            asked = False
            if message.type is kinds.BINARY:
                yield message.data
            elif message.type is kinds.PING:
                await self._tell(socket.pong(message.data), url)
            elif message.type is kinds.ERROR:
                raise _broken(message.data, url)
            elif message.type in {kinds.CLOSE, kinds.CLOSING, kinds.CLOSED}:
                raise Refused(RelayReason.HOST_CLOSED, f"{url} closed the stream ({socket.close_code})")

    async def _tell(self, sending: Any, url: str) -> None:
        try:
            async with asyncio.timeout(self._ping):
                await sending
        except (aiohttp.ClientError, OSError) as error:
            raise Refused(RelayReason.HOST_CLOSED, f"{url}: {type(error).__name__}") from error

    def _session(self, name: str) -> aiohttp.ClientSession:
        """Made when it is first used, on the loop; each guarded."""
        session = self._sessions.get(name)
        if session is None:
            traces = [] if name == "repos" else [_trace(refuse_relays=name == "hosts")]
            session = self._sessions[name] = aiohttp.ClientSession(
                connector=self._guard.connector(limit=0),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_HEADERS,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=self._stall),
                trace_configs=traces,
            )
        return session


def _trace(*, refuse_relays: bool) -> aiohttp.TraceConfig:
    """Raises out of a request that is redirected, and out of one that a relay answers."""

    async def redirected(
        _session: aiohttp.ClientSession, _context: SimpleNamespace, params: aiohttp.TraceRequestRedirectParams
    ) -> None:
        raise Refused(RelayReason.HOST_REDIRECTS, f"{params.url.origin()} redirects; name the host itself")

    async def answered(
        _session: aiohttp.ClientSession, _context: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        if RELAY_SERVER in params.response.headers.get("Server", "").lower():
            raise Refused(RelayReason.HOST_IS_RELAY, f"{params.url.origin()} is a relay: read it with --relay")

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(redirected)
    if refuse_relays:
        trace.on_request_end.append(answered)
    return trace


def _broken(error: object, url: str) -> Refused:
    if isinstance(error, aiohttp.WebSocketError) and error.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
        return Refused(RepoReason.FRAME_SIZE, f"{url}: a message of more than {FRAME_MAX} bytes")
    return Refused(RelayReason.HOST_CLOSED, f"{url}: {type(error).__name__}")


def _refusal(error: BaseException, url: str) -> Refused:
    if isinstance(error, TimeoutError):
        return Refused(RelayReason.HOST_UNREACHABLE, f"{url}: no answer in time")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BlockedAddress):
            return IdentityRefused(IdentityReason.BLOCKED, f"{cause}: {url[:200]}")
        cause = getattr(cause, "os_error", None) or cause.__cause__
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return Refused(RelayReason.HOST_UNREACHABLE, f"{url}: HTTP {error.status} instead of a websocket")
    return Refused(RelayReason.HOST_UNREACHABLE, f"{url}: {type(error).__name__}")


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(16_384):
        body += chunk
        if len(body) > limit:
            return b""
    return bytes(body)
