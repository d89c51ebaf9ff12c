"""A PDS of a cluster hands what the AppView answers on to the AppView, over HTTP and in the caller's name.

https://atproto.com/specs/xrpc#service-proxying. The caller's session becomes a service token of the account; the rev of
the account's repo goes along (`Atproto-Repo-Rev`), so that the AppView can wait for it, and the rev that the answer
holds comes back. Answers are bounded in size and time and passed on as they are. Does not own what they say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

import aiohttp
import structlog
from yarl import URL

from api.proxy import check_proxy
from api.xrpc import Answer, Ctx, Endpoint, Handler, Kind, Raw
from schemas import data, tracing
from schemas.errors import XrpcError
from schemas.syntax import Handle
from schemas.tracing import HEADER

ANSWER_MAX = 16 * 1024 * 1024
SECONDS = 15.0
CONNECTIONS = 256

_ON = ("Accept-Language", "atproto-accept-labelers", "X-Bsky-Topics")
_BACK = ("Atproto-Repo-Rev", "atproto-content-labelers", "Retry-After", "RateLimit-Limit")
_log = structlog.get_logger()


class AppViewClient:
    """`base` is the operator's setting, hence not held to the address guard."""

    def __init__(self, base: str, *, seconds: float = SECONDS, answer_max: int = ANSWER_MAX) -> None:
        self._base = base.rstrip("/")
        self._seconds = seconds
        self._answer_max = answer_max
        self._session: aiohttp.ClientSession | None = None

    async def get(self, nsid: str, query: str, headers: Mapping[str, str]) -> Raw:
        """The answer of a query; `query` is encoded as it came. Raises XrpcError UpstreamFailure, UpstreamTimeout."""
        return await self._ask("GET", nsid, query, headers, None)

    async def post(self, nsid: str, body: bytes, headers: Mapping[str, str]) -> Raw:
        """The answer of a procedure with a JSON body, which is asked once: what fails may have taken effect."""
        return await self._ask("POST", nsid, "", {**headers, "Content-Type": "application/json"}, body)

    async def _ask(self, verb: str, nsid: str, query: str, headers: Mapping[str, str], body: bytes | None) -> Raw:
        tracer = tracing.TRACER
        if tracer is not None:
            with tracer.span(f"appview {nsid}") as span:
                if span.header is not None:
                    headers = {**headers, HEADER: span.header.decode()}
                return await self._call(verb, nsid, query, headers, body)
        return await self._call(verb, nsid, query, headers, body)

    async def _call(self, verb: str, nsid: str, query: str, headers: Mapping[str, str], body: bytes | None) -> Raw:
        url = URL(f"{self._base}/xrpc/{nsid}{'?' * bool(query)}{query}", encoded=True)
        try:
            async with self._open().request(verb, url, headers=headers, data=body, allow_redirects=False) as response:
                answer = bytearray()
                async for piece in response.content.iter_chunked(65_536):
                    answer += piece
                    if len(answer) > self._answer_max:
                        response.close()
                        raise XrpcError("UpstreamFailure", "The AppView's answer is too large", 502)
                back = {name: response.headers[name] for name in _BACK if name in response.headers}
                content_type = response.headers.get("Content-Type", "application/octet-stream")
                return Raw(content_type, bytes(answer), back, response.status)
        except TimeoutError:
            raise XrpcError("UpstreamTimeout", "The AppView did not answer in time", 504) from None
        except aiohttp.ClientError as error:
            _log.warning("appview.away", error=repr(error))
            raise XrpcError("UpstreamFailure", "The AppView cannot be reached", 502) from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity", "User-Agent": "headrace"},
                timeout=aiohttp.ClientTimeout(total=self._seconds, connect=5.0),
            )
        return self._session


def forwarded(endpoints: Iterable[Endpoint], client: AppViewClient) -> tuple[Endpoint, ...]:
    """The same methods, answered by the AppView: parameters, input, credentials and limits are judged here first."""
    return tuple(Endpoint(each.nsid, _handler(client), each.auth) for each in endpoints)


def falling_back(endpoints: Iterable[Endpoint], client: AppViewClient) -> tuple[Endpoint, ...]:
    """The same endpoints; those below ask the AppView about accounts that do not live here."""
    return tuple(
        Endpoint(each.nsid, _or_elsewhere(each, _LIVES_HERE[each.nsid], client), each.auth, each.points)
        if each.nsid in _LIVES_HERE
        else each
        for each in endpoints
    )


async def _is_our_handle(ctx: Ctx, handle: str) -> bool:
    """Also one that nobody has, under a domain of ours."""
    pds, name = ctx.services.pds, handle.lower()
    return name.endswith(pds.settings.handle_domains) or await pds.local_handle(Handle(name)) is not None


async def _is_our_repo(ctx: Ctx, repo: str) -> bool:
    return ctx.services.pds.hosts(repo) if repo.startswith("did:") else await _is_our_handle(ctx, repo)


_LIVES_HERE: dict[str, Callable[[Ctx], Awaitable[bool]]] = {
    "com.atproto.identity.resolveHandle": lambda ctx: _is_our_handle(ctx, ctx.params["handle"]),
    "com.atproto.repo.getRecord": lambda ctx: _is_our_repo(ctx, ctx.params["repo"]),
}


def _or_elsewhere(here: Endpoint, lives_here: Callable[[Ctx], Awaitable[bool]], client: AppViewClient) -> Handler:
    async def handle(ctx: Ctx) -> Answer:
        if await lives_here(ctx):
            return await here.handle(ctx)
        try:
            return await here.handle(ctx)
        except XrpcError:
            assert ctx.request is not None, "what is forwarded came over HTTP"
            return await client.get(ctx.nsid, ctx.request.rel_url.raw_query_string, {})

    return handle


def _handler(client: AppViewClient) -> Handler:
    async def handle(ctx: Ctx) -> Answer:
        request, auth, services = ctx.request, ctx.auth, ctx.services
        assert request is not None, "what is forwarded came over HTTP"
        asked = request.headers
        if "atproto-proxy" in asked:
            check_proxy(asked["atproto-proxy"], services.config)
        headers = {name: asked[name] for name in _ON if name in asked}
        if ctx.viewer is not None and auth is not None:
            if auth.kind is Kind.SERVICE:
                token = auth.token
            else:
                token = services.pds.service_auth(ctx.viewer, services.config.appview_did, ctx.nsid)
                rev = services.pds.sync.repo_status(ctx.viewer).rev
                if rev is not None:
                    headers["Atproto-Repo-Rev"] = str(rev)
            headers["Authorization"] = f"Bearer {token}"
        if request.method == "POST":
            return await client.post(ctx.nsid, data.dumps(ctx.input), headers)
        return await client.get(ctx.nsid, request.rel_url.raw_query_string, headers)

    return handle
