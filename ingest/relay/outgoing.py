"""The relay's connections to other people's hosts: firehoses, repos, whether a host is a PDS.

Every socket passes the address guard when it is made. A firehose is not redirected, not compressed and has messages of
at most `FRAME_MAX`; a host that says nothing, not even to a ping, is given up, and so is one that says it byte by byte
(`ingest.relay.patience`). Does not own when to connect (`ingest.relay.subscription`) nor what frames say.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver

from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.ssrf import AddressGuard
from ingest.relay.answers import ERROR_BYTES, repo_refused, retry_after
from ingest.relay.backfill_reasons import BackfillReason, HostThrottles
from ingest.relay.outgoing_errors import broken, refusal, trace
from ingest.relay.patience import Pace, Patience
from ingest.relay.quotas import Bucket, Rate
from ingest.relay.reasons import RelayReason
from schemas.errors import Refused
from schemas.limits import FRAME_MAX
from schemas.syntax import Did

_REDIRECTS = 3
_CONTROLS = 60  # pings and pongs of a stream within two waits for one
_PIECE = 256 * 1024
_DESCRIPTION = 65_536
_HEADERS = {"User-Agent": "headrace", "Accept-Encoding": "identity"}


class Outgoing:
    """`private` lets http and private addresses in (a laboratory). `resolver` takes the place of the system's."""

    def __init__(
        self,
        guard: AddressGuard,
        *,
        private: bool = False,
        patience: Patience | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._guard = guard
        self._schemes = ("https", "http") if private else ("https",)
        self._patience = patience or Patience()
        self._resolver = resolver
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
            async with asyncio.timeout(self._patience.connect):
                socket = await session.ws_connect(
                    address,
                    autoping=False,
                    max_msg_size=FRAME_MAX,
                    timeout=aiohttp.ClientWSTimeout(ws_close=self._patience.close),
                )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise refusal(error, url) from error
        try:
            yield self._frames(socket, url)
        finally:
            # By itself it waits for the host's farewell anew with every message that comes before it.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience.close):
                    await socket.close()

    async def pieces(self, url: str, did: Did) -> AsyncGenerator[bytes]:
        """The CAR of an account's repo. Raises Refused: REPO_*, an IdentityReason."""
        address = f"{url.rstrip('/')}/xrpc/com.atproto.sync.getRepo?{urlencode({'did': did})}"
        session = self._session("repos")
        try:
            async with asyncio.timeout(self._patience.repo):
                for _ in range(_REDIRECTS + 1):
                    if urlsplit(address).scheme not in self._schemes:
                        raise IdentityRefused(IdentityReason.SCHEME, f"redirected to {address[:200]}")
                    async with asyncio.timeout(self._patience.answer):
                        response = await session.get(address, allow_redirects=False)
                    async with response:
                        if response.status in {301, 302, 303, 307, 308} and "Location" in response.headers:
                            address = urljoin(address, response.headers["Location"])
                            continue
                        if response.status != 200:
                            raise repo_refused(
                                response.status, response.headers, await _read(response, ERROR_BYTES), did
                            )
                        async for piece in self._paced(response, did):
                            yield piece
                        return
        except TimeoutError as error:
            raise Refused(RelayReason.REPO_SLOW, f"the repo of {did} did not come in time from {url}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            refused = refusal(error, url)
            if refused.reason is RelayReason.HOST_UNREACHABLE:
                refused = Refused(RelayReason.REPO_UNREACHABLE, refused.detail)
            raise refused from error
        raise Refused(RelayReason.HOST_REDIRECTS, f"more than {_REDIRECTS} redirects for the repo of {did}")

    async def query(self, url: str, method: str, params: dict[str, str], most: int) -> Any:
        """The JSON that a host answers, of at most `most` bytes. Raises Refused: HOST_*, an IdentityReason."""
        address = f"{url.rstrip('/')}/xrpc/{method}?{urlencode(params)}"
        if urlsplit(address).scheme not in self._schemes:
            raise IdentityRefused(IdentityReason.SCHEME, f"{url[:200]} is not asked: expected https")
        try:
            async with (
                asyncio.timeout(self._patience.answer),
                self._session("repos").get(address, allow_redirects=False) as response,
            ):
                body = await _read(response, most)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise refusal(error, url) from error
        if response.status == 429:
            raise HostThrottles(f"{url}: HTTP 429 to {method}", retry_after(response.headers))
        if response.status != 200:
            raise Refused(BackfillReason.HOST_ANSWER, f"{url}: HTTP {response.status} to {method}")
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Refused(
                BackfillReason.HOST_ANSWER, f"{url}: expected JSON of at most {most} bytes from {method}"
            ) from error

    async def _paced(self, response: aiohttp.ClientResponse, did: Did) -> AsyncIterator[bytes]:
        """The body, as long as it keeps pace; headers of chunks are none of it. Raises Refused(REPO_SLOW)."""
        pace, clock = Pace(self._patience), asyncio.get_running_loop().time
        piece = b" "
        while piece:
            began = clock()
            try:
                async with asyncio.timeout(pace.left):
                    piece = await response.content.read(_PIECE)
            except TimeoutError as error:
                slow = f"the repo of {did} comes at less than {self._patience.pace:.0f} bytes/s"
                raise Refused(RelayReason.REPO_SLOW, slow) from error
            pace.came(len(piece), clock() - began)
            yield piece

    async def check_pds(self, url: str) -> None:
        """Raises Refused unless a PDS answers there: HOST_NO_PDS, HOST_UNREACHABLE, HOST_IS_RELAY."""
        address = f"{url.rstrip('/')}/xrpc/com.atproto.server.describeServer"
        try:
            async with (
                asyncio.timeout(self._patience.connect),
                self._session("hosts").get(address, allow_redirects=False) as response,
            ):
                body = await _read(response, _DESCRIPTION) if response.status == 200 else b""
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise refusal(error, url) from error
        try:
            found = orjson.loads(body or b"null")
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("did"), str):
            raise Refused(RelayReason.HOST_NO_PDS, f"{url}: describeServer gives no server's DID")

    async def _frames(self, socket: aiohttp.ClientWebSocketResponse, url: str) -> AsyncIterator[bytes]:
        asked = False
        kinds, clock = aiohttp.WSMsgType, asyncio.get_running_loop().time
        heard, controls = clock(), Bucket(Rate(_CONTROLS, 2 * self._patience.ping))
        while True:
            if clock() - heard > self._patience.mute:
                raise Refused(RelayReason.HOST_SILENT, f"{url} has sent no whole message for {clock() - heard:.0f} s")
            try:
                message = await socket.receive(timeout=self._patience.ping)
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
                heard = clock()
            elif message.type in {kinds.PING, kinds.PONG}:
                if not controls.take():
                    raise Refused(RelayReason.HOST_FRAMES, f"{url}: more than {_CONTROLS} pings and pongs at once")
                if message.type is kinds.PING:
                    await self._tell(socket.pong(message.data), url)
            elif message.type is kinds.ERROR:
                raise broken(message.data, url)
            elif message.type in {kinds.CLOSE, kinds.CLOSING, kinds.CLOSED}:
                raise Refused(RelayReason.HOST_CLOSED, f"{url} closed the stream ({socket.close_code})")
            else:
                raise Refused(RelayReason.HOST_FRAMES, f"{url}: a message of text, expected bytes")

    async def _tell(self, sending: Any, url: str) -> None:
        try:
            async with asyncio.timeout(self._patience.ping):
                await sending
        except (aiohttp.ClientError, OSError) as error:
            raise Refused(RelayReason.HOST_CLOSED, f"{url}: {type(error).__name__}") from error

    def _session(self, name: str) -> aiohttp.ClientSession:
        """Made when it is first used, on the loop; each guarded."""
        session = self._sessions.get(name)
        if session is None:
            traces = [] if name == "repos" else [trace(refuse_relays=name == "hosts")]
            session = self._sessions[name] = aiohttp.ClientSession(
                connector=self._guard.connector(self._resolver, limit=0),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_HEADERS,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self._patience.connect, sock_read=self._patience.stall
                ),
                trace_configs=traces,
            )
        return session


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(16_384):
        body += chunk
        if len(body) > limit:
            return b""
    return bytes(body)
