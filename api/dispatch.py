"""From an HTTP request to an endpoint and back: the one place that knows both.

Order, as in the reference: method, parameters, authentication, input, rate limits, endpoint. Before anything is looked
at a query waits for its turn, a procedure when its input is there; where nobody more may wait, nothing is looked at.
HOT: `Dispatcher.xrpc` runs for every call. Does not own what endpoints do, how an answer is sent (`api/answer.py`),
what a token says (`api/auth.py`), what lexicons say (`schemas.lexicon`), nor routes beside /xrpc/ (`api/server.py`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable

import structlog
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage
from prometheus_client import Counter, Histogram

from api.admission import KINDS, Entrance, kind_of
from api.answer import refuse, respond
from api.appview.reader import AppViewReader
from api.auth import Authenticator
from api.body import read_input
from api.errors import invalid_request, not_implemented, unavailable
from api.fresh import Fresh
from api.gate import Limits
from api.metrics import HttpMetrics
from api.proxy import check_proxy
from api.xrpc import Auth, Ctx, Endpoint, Services
from ingest.pds.rate_limit import BY_METHOD, GLOBAL, RateLimiter, Rule
from schemas.errors import Refused, XrpcError
from schemas.lexicon import Catalogue, Method
from schemas.syntax import Nsid

_VERBS = {"query": ("GET", "HEAD"), "procedure": ("POST",), "subscription": ("GET",)}
_PREFIX = "/xrpc/"
_BUSY_MAX = 4_096  # requests and subscriptions at once; each holds tens of KB

_log = structlog.get_logger()


class _Route:
    """All that is known of a method before a request comes."""

    __slots__ = ("counters", "endpoint", "entrance", "is_long", "lexicon", "reads_views", "rules", "seconds", "verbs")

    def __init__(
        self,
        lexicon: Method,
        endpoint: Endpoint | None,
        entrance: Entrance,
        *,
        reads_views: bool,
        metrics: HttpMetrics,
    ) -> None:
        self.entrance = entrance
        self.lexicon = lexicon
        self.is_long = lexicon.kind == "subscription"  # which holds no place, and waits for none
        self.endpoint = endpoint
        self.verbs = _VERBS[lexicon.kind]
        self.reads_views = reads_views
        self.rules = _rules(lexicon.nsid)
        self.counters: dict[int, Counter] = {}
        # Subscriptions last for days, and what is not implemented takes no time: neither has a duration.
        timed = endpoint is not None and not self.is_long
        self.seconds: Histogram | None = metrics.seconds.labels(lexicon.nsid) if timed else None


def _rules(nsid: str) -> tuple[Rule, ...]:
    own = BY_METHOD.get(nsid, ())
    # The repo export has an allowance of its own instead of the general one (PROTOCOL 2.7).
    return own if nsid == "com.atproto.sync.getRepo" else (GLOBAL, *own)


class Dispatcher:
    """`pds` and `views` are the endpoints of each role: those of `views` read what processors computed.

    `limit_accounts`: calls with a service token count against their account and not their address, which is a PDS's.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        services: Services,
        authenticator: Authenticator,
        metrics: HttpMetrics,
        *,
        pds: Iterable[Endpoint] = (),
        views: Iterable[Endpoint] = (),
        limiter: RateLimiter | None = None,
        limit_accounts: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self._limit_accounts = limit_accounts
        self._services = services
        self._authenticator = authenticator
        self._metrics = metrics
        self._limiter = limiter
        self._config = services.config
        self._busy = 0
        metrics.in_flight.set_function(lambda: self._busy)
        entrances = {kind: Entrance(kind, limits or Limits(), metrics) for kind in KINDS}
        endpoints = {endpoint.nsid: (endpoint, False) for endpoint in pds}
        for endpoint in views:
            endpoints[endpoint.nsid] = (endpoint, True)
        self._routes: dict[str, _Route] = {}
        for nsid, lexicon in catalogue.methods.items():
            endpoint_of, reads_views = endpoints.pop(nsid, (None, False))
            entrance = entrances[kind_of(lexicon)]
            self._routes[nsid] = _Route(lexicon, endpoint_of, entrance, reads_views=reads_views, metrics=metrics)
        if endpoints:
            raise ValueError(f"endpoints that no lexicon declares: {sorted(endpoints)}")

    def read(self, appview: AppViewReader, fresh: Fresh) -> None:
        """Requests from here on are answered from these views; those under way end with what they began with."""
        self._services = self._services.reading(appview, fresh)

    @property
    def appview(self) -> AppViewReader:
        """What requests are answered from now."""
        return self._services.appview

    async def xrpc(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request below /xrpc/. Never raises but for a client that is gone."""
        started = time.perf_counter()
        nsid = request.path[len(_PREFIX) :]
        route = self._routes.get(nsid)
        ctx: Ctx | None = None
        limit: dict[str, str] | None = None
        status = 500
        entered = False
        self._busy += 1
        try:
            if self._busy > _BUSY_MAX:
                raise unavailable("The server is busy; try again")  # noqa: TRY301 - answered below, like all refusals
            endpoint = None if route is None else route.endpoint
            if route is None or endpoint is None or request.method not in route.verbs:
                raise _no_endpoint(nsid, route, request.method)  # noqa: TRY301 - answered below, like all refusals
            refusal = None if route.is_long else route.entrance.refusal(request)
            if refusal is not None:
                status = 503
                return refusal
            services = self._services
            ctx = Ctx(nsid, services, request=request)
            if route.lexicon.kind == "query":
                entered = route.entrance.try_enter() or await route.entrance.wait(ctx, request)
            ctx.params = route.lexicon.params(request.query)
            headers = request.headers
            mode = endpoint.auth
            if mode is not Auth.NONE:
                ctx.auth = auth = await self._authenticator.verify(
                    mode, nsid, headers.get("Authorization"), reads=request.method != "POST"
                )
                if auth is not None:
                    ctx.viewer = auth.did
            if request.method == "POST":
                ctx.input, ctx.body = await read_input(request, route.lexicon, self._config)
                entered = route.entrance.try_enter() or await route.entrance.wait(ctx, request)
            if self._limiter is not None:
                limit = self._take(route, endpoint, ctx, request)
            if route.reads_views:
                if "atproto-proxy" in headers:
                    check_proxy(headers["atproto-proxy"], self._config)
                viewer, fresh = ctx.viewer, services.fresh
                if viewer is not None and ctx.auth is not None and ctx.auth.kind is fresh.waits_for:
                    said = headers.get("Atproto-Repo-Rev")
                    await fresh.wait(viewer, said)
                    rev = await fresh.rev(viewer, said, services.appview)
                    if rev is not None:
                        ctx.set_header("Atproto-Repo-Rev", rev)
                    since = fresh.since(viewer)
                    if since is not None:
                        ctx.services = services.since(since)
            response = await respond(await endpoint.handle(ctx), ctx, request, limit)
            status = response.status
        except XrpcError as error:
            status = error.status
            response = refuse(error, ctx, limit)
            if request.content.exception() is not None:
                response.force_close()  # where the next request begins is not known
        except Refused as refused:
            status = 400
            response = refuse(invalid_request(refused.detail), ctx, limit)
        except (ConnectionError, BadHttpMessage):
            status = 499
            raise
        except Exception as error:  # noqa: BLE001 - the edge: logged whole, answered without a word of it
            response = refuse(_unexpected(error, nsid if route is not None else "unknown"), ctx, limit)
        finally:
            self._busy -= 1
            if entered and route is not None:
                route.entrance.leave()
            if route is not None:
                counter = route.counters.get(status)
                if counter is None:
                    counter = route.counters[status] = self._metrics.requests.labels(nsid, str(status))
                counter.inc()
                if route.seconds is not None:
                    route.seconds.observe(time.perf_counter() - started)
        return response

    def _take(self, route: _Route, endpoint: Endpoint, ctx: Ctx, request: web.BaseRequest) -> dict[str, str]:
        assert self._limiter is not None
        points = 1 if endpoint.points is None else endpoint.points(ctx)
        if self._limit_accounts and ctx.viewer is not None:
            remote = str(ctx.viewer)
        else:
            remote = client_address(request, trust_forwarded=self._config.trust_forwarded)
        taken = []
        for rule in route.rules:
            if rule.key == "ip":
                key = remote
            elif rule.key == "did":
                key = str(ctx.viewer)
            else:
                key = f"{remote} {_identifier(ctx)}"
            taken.append((rule, key, 1 if rule is GLOBAL else points))
        state = self._limiter.take_all(taken)
        assert state is not None, "every method has at least one rate limit"
        if state.exceeded:
            self._metrics.limited.labels(state.rule.name).inc()
            ctx.headers_out = state.headers()
            raise XrpcError("RateLimitExceeded", "Rate Limit Exceeded", 429)
        return state.headers()


def _no_endpoint(nsid: str, route: _Route | None, method: str) -> XrpcError:
    if route is None:
        return not_implemented() if Nsid.is_valid(nsid) else invalid_request("invalid xrpc path")
    if method not in route.verbs:
        return invalid_request(f"Incorrect HTTP method ({method}) expected {route.verbs[0]}")
    return not_implemented()


def _unexpected(error: Exception, nsid: str) -> XrpcError:
    """Our own fault: the client gets an id, the log gets the rest."""
    error_id = uuid.uuid4().hex
    _log.error("request failed", nsid=nsid, error_id=error_id, exc_info=error)
    return XrpcError("InternalServerError", f"Internal Server Error (id {error_id})", 500)


def _identifier(ctx: Ctx) -> str:
    """Whom a login is for, bounded: what one address may try at one account."""
    found = ctx.input.get("identifier") if isinstance(ctx.input, dict) else None
    return found[:256].lower() if isinstance(found, str) else ""


def client_address(request: web.BaseRequest, *, trust_forwarded: bool) -> str:
    """The address limits count by: the peer's, or behind a proxy of ours the last one it added."""
    if trust_forwarded:
        forwarded = request.headers.get("X-Forwarded-For")
        if forwarded:
            return forwarded.rpartition(",")[2].strip()[:64]
    return request.remote or ""
