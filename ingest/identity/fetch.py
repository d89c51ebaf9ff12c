"""Bounded GETs of strangers' URLs: size, time, redirects, schemes; each hop through the address guard.

Bodies are asked for uncompressed and never decompressed. Does not own what a body means.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from ssl import SSLContext
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver

from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.ssrf import AddressGuard, BlockedAddress
from schemas.timings import Timings

MAX_REDIRECTS = 3
MAX_URL = 2048
HEADERS = {"Accept-Encoding": "identity", "User-Agent": "headrace"}

_REDIRECTS = frozenset((301, 302, 303, 307, 308))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


class Fetcher:
    """`await get(url, limit)`; `allow_http` is for development networks (public ones are https only).

    `tls` may be a context with other authorities than the system's.
    """

    def __init__(
        self,
        guard: AddressGuard,
        *,
        allow_http: bool = False,
        timeout: float = 5.0,
        resolver: AbstractResolver | None = None,
        tls: SSLContext | bool = True,
    ) -> None:
        self._guard = guard
        self._schemes = ("https", "http") if allow_http else ("https",)
        self._timeout = timeout
        self._resolver = resolver
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self.fetches = Timings()

    async def get(self, url: str, limit: int, accept: str = "*/*", redirects: int = MAX_REDIRECTS) -> Answer:
        """The answer after so many redirects at most, of any status, with a body of at most `limit` bytes.

        Raises IdentityRefused.
        """
        return await self.fetches.of(self._get(url, limit, accept, redirects))

    async def _get(self, url: str, limit: int, accept: str, redirects: int) -> Answer:
        try:
            async with asyncio.timeout(self._timeout):
                for _ in range(redirects + 1):
                    step = await self._step(url, limit, accept)
                    if isinstance(step, Answer):
                        return step
                    url = step
        except TimeoutError as error:
            raise IdentityRefused(IdentityReason.TIMEOUT, f"no answer within {self._timeout} s: {url[:200]}") from error
        raise IdentityRefused(IdentityReason.REDIRECTS, f"more than {redirects} redirects, at {url[:200]}")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _step(self, url: str, limit: int, accept: str) -> Answer | str:
        """One request: an answer, or the next URL."""
        try:
            scheme = urlsplit(url).scheme
        except ValueError:
            scheme = ""
        if scheme not in self._schemes or len(url) > MAX_URL:
            raise IdentityRefused(
                IdentityReason.SCHEME,
                f"expected {' or '.join(self._schemes)} and at most {MAX_URL} characters, found {url[:200]}",
            )
        try:
            async with self._open().get(
                url,
                headers={"Accept": accept},
                allow_redirects=False,
                ssl=self._tls,
            ) as response:
                if response.status in _REDIRECTS and "Location" in response.headers:
                    return urljoin(url, response.headers["Location"])
                return Answer(response.status, await _read(response, limit, url))
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise IdentityRefused(*_translate(error, url)) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._guard.connector(self._resolver),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=HEADERS,
                timeout=aiohttp.ClientTimeout(total=self._timeout),
            )
        return self._session


async def _read(response: aiohttp.ClientResponse, limit: int, url: str) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(16_384):
        body += chunk
        if len(body) > limit:
            response.close()
            raise IdentityRefused(IdentityReason.TOO_LARGE, f"more than {limit} bytes from {url[:200]}")
    return bytes(body)


def _translate(error: BaseException, url: str) -> tuple[IdentityReason, str]:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BlockedAddress):
            return IdentityReason.BLOCKED, f"{cause}: {url[:200]}"
        cause = getattr(cause, "os_error", None) or cause.__cause__
    return IdentityReason.UNREACHABLE, f"{type(error).__name__}: {url[:200]}"
