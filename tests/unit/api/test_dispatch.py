"""From request to endpoint and back, over real HTTP, with the real catalogue."""
# ruff: noqa: SIM117 - the server outside, the request inside reads better than one line of both

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
import orjson
import pytest
from aiohttp.test_utils import RawTestServer
from prometheus_client import CollectorRegistry

from api.auth import Authenticator
from api.config import ServerConfig
from api.dispatch import Dispatcher
from api.fresh import ReadYourWrites
from api.metrics import HttpMetrics
from api.server import PublicServer
from api.well_known import pages
from api.xrpc import Answer, Auth, Ctx, Endpoint, Kind, Raw, Services
from headrace.did_docs import DidDocs
from ingest.identity import service_auth
from ingest.pds.rate_limit import RateLimiter
from ingest.pds.tokens import Scope, Tokens
from ingest.repo.keys import PrivateKey
from schemas import lexicon
from schemas.errors import XrpcError
from schemas.syntax import Did, Handle

DID = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
SERVICE = "did:web:localhost"
CONFIG = ServerConfig(
    hostname="localhost",
    public_url="http://localhost:2583",
    service_did=SERVICE,
    appview_did=SERVICE,
    handle_domains=(".test",),
    admin_token="hunter2",
    ops_token="ops",
    version="0.1.0",
    blob_limit=1_000_000,
    json_limit=65_536,
)
KEY = PrivateKey.generate("k256")
TOKENS = Tokens(b"s" * 64, SERVICE, 7200, 86400, time.time)
DOCUMENT = {
    "id": DID,
    "alsoKnownAs": ["at://alice.test"],
    "verificationMethod": [
        {
            "id": f"{DID}#atproto",
            "type": "Multikey",
            "controller": DID,
            "publicKeyMultibase": KEY.public.multikey,
        }
    ],
    "service": [],
}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def whoami(ctx: Ctx) -> Answer:
    return {"viewer": ctx.viewer, "kind": ctx.auth and ctx.auth.kind, "params": ctx.params, "input": repr(ctx.input)}


def endpoint(nsid: str, handle=whoami, auth: Auth = Auth.NONE, **more) -> Endpoint:
    return Endpoint(nsid, handle, auth, **more)


class Seen:
    """Views that are as far as the test says."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    async def reached(self, shard: int, offset: int, timeout: float) -> bool:  # noqa: ARG002, ASYNC109 - the port's
        self.asked.append((shard, offset))
        return True


@asynccontextmanager
async def serving(*pds: Endpoint, views: tuple[Endpoint, ...] = (), limiter: RateLimiter | None = None, **services):
    registry = CollectorRegistry()
    metrics = HttpMetrics(registry)
    seen = Seen()
    services.setdefault("fresh", ReadYourWrites(seen, lambda did: (0, 9) if did == DID else None, metrics))
    parts = Services(config=CONFIG, metrics=metrics, **services)
    authenticator = Authenticator(TOKENS, DidDocs({DID: DOCUMENT}), (SERVICE, f"{SERVICE}#bsky_appview"), "hunter2")
    dispatcher = Dispatcher(lexicon.load(), parts, authenticator, metrics, pds=pds, views=views, limiter=limiter)

    async def did_of_handle(handle: Handle) -> str | None:
        return DID if handle == "alice.test" else None

    server = RawTestServer(PublicServer(parts, dispatcher, pages=pages(parts, did_of_handle)).handle)
    await server.start_server()
    async with aiohttp.ClientSession(base_url=server.make_url("/")) as session:
        session.registry, session.seen = registry, seen
        yield session
    await server.close()


async def answer(response: aiohttp.ClientResponse) -> tuple[int, object, object]:
    body = orjson.loads(await response.read())
    return response.status, body.get("error"), body.get("message")


async def test_parameters_are_typed_and_defaulted_by_the_lexicon() -> None:
    async with serving(endpoint("app.bsky.feed.getLikes")) as client:
        async with client.get("/xrpc/app.bsky.feed.getLikes?uri=at://alice.test/app.bsky.feed.post/3k&limit=7") as got:
            body = await got.json()

    assert got.headers["Access-Control-Allow-Origin"] == "*"
    assert body["params"] == {"uri": "at://alice.test/app.bsky.feed.post/3k", "limit": 7}


async def test_a_missing_parameter_is_an_invalid_request() -> None:
    async with serving(endpoint("app.bsky.feed.getLikes")) as client, client.get("/xrpc/app.bsky.feed.getLikes") as got:
        assert await answer(got) == (400, "InvalidRequest", 'Params must have the property "uri"')


async def test_a_method_without_an_endpoint_is_not_implemented() -> None:
    async with serving() as client:
        async with client.get("/xrpc/app.bsky.feed.getTimeline") as got:
            assert await answer(got) == (501, "MethodNotImplemented", "Method Not Implemented")
        async with client.get("/xrpc/com.example.unknown.method") as got:
            assert await answer(got) == (501, "MethodNotImplemented", "Method Not Implemented")
        async with client.get("/xrpc/nonsense") as got:
            assert await answer(got) == (400, "InvalidRequest", "invalid xrpc path")


async def test_the_wrong_http_method_is_named() -> None:
    async with serving(endpoint("com.atproto.repo.createRecord")) as client:
        async with client.get("/xrpc/com.atproto.repo.createRecord") as got:
            assert await answer(got) == (400, "InvalidRequest", "Incorrect HTTP method (GET) expected POST")
        async with client.head("/xrpc/com.atproto.repo.createRecord") as got:
            assert got.status == 400
        async with client.put("/xrpc/com.atproto.repo.createRecord") as got:
            assert (got.status, got.headers["Allow"]) == (405, "GET, HEAD, POST, OPTIONS")


async def test_every_lexicon_method_answers() -> None:
    statuses = set()
    async with serving() as client:
        for nsid, method in lexicon.load().methods.items():
            verb = client.post if method.kind == "procedure" else client.get
            async with verb(f"/xrpc/{nsid}") as got:
                statuses.add(got.status)
                await got.read()

    assert statuses == {501}


async def test_head_answers_without_a_body() -> None:
    async with serving(endpoint("com.atproto.server.describeServer")) as client:
        async with client.head("/xrpc/com.atproto.server.describeServer") as got:
            assert (got.status, await got.read()) == (200, b"")


SESSION = "/xrpc/com.atproto.server.createSession"


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b"", {}, 400, "A request body is expected but none was provided"),
        (b"{}", {"Content-Type": ""}, 400, "Request encoding (Content-Type) required but not provided"),
        (b"{}", {"Content-Type": "text/plain"}, 400, "Wrong request encoding (Content-Type): text/plain"),
        (b"{}", {"Content-Type": "application/json"}, 400, 'Input must have the property "identifier"'),
        (b'{"identifier": 7, "password": ""}', None, 400, "Input/identifier must be a string"),
        (b"[]", None, 400, None),
        (b"{", None, 400, None),
        (b"\xff", None, 400, None),
        (b"[" * 900 + b"]" * 900, None, 400, None),
        (b'{"identifier": 1.5}', None, 400, None),
        (b'{"identifier":"' + b"a" * 65_536 + b'"}', None, 413, "request entity too large"),
    ],
)
async def test_bad_bodies_are_refused_in_the_references_words(body, headers, status, message) -> None:
    async with serving(endpoint("com.atproto.server.createSession")) as client:
        headers = {"Content-Type": "application/json"} if headers is None else headers
        async with client.post(SESSION, data=body, headers=headers, skip_auto_headers=["Content-Type"]) as got:
            found = await answer(got)

    assert found[0] == status
    assert found[1] == ("PayloadTooLarge" if status == 413 else "InvalidRequest")
    assert message is None or found[2] == message


async def test_a_chunked_body_over_the_limit_is_refused_without_being_kept() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 4096

    async with serving(endpoint("com.atproto.server.createSession")) as client:
        async with client.post(SESSION, data=pieces(), headers={"Content-Type": "application/json"}) as got:
            assert await answer(got) == (413, "PayloadTooLarge", "request entity too large")


async def test_a_body_that_nobody_asked_for_is_refused() -> None:
    async with serving(endpoint("com.atproto.server.deleteSession")) as client:
        async with client.post("/xrpc/com.atproto.server.deleteSession", json={}) as got:
            assert await answer(got) == (400, "InvalidRequest", "A request body was provided when none was expected")


async def test_a_binary_body_is_handed_over_as_a_stream() -> None:
    async def size(ctx: Ctx) -> Answer:
        total = 0
        async for piece in ctx.body.chunks:
            total += len(piece)
        return {"type": ctx.body.content_type, "size": total}

    async with serving(endpoint("com.atproto.repo.uploadBlob", size)) as client:
        async with client.post(
            "/xrpc/com.atproto.repo.uploadBlob", data=b"x" * 300_000, headers={"Content-Type": "image/png"}
        ) as got:
            assert await got.json() == {"type": "image/png", "size": 300_000}


async def test_an_xrpc_error_keeps_its_name_and_status() -> None:
    async def refuse(_: Ctx) -> Answer:
        raise XrpcError("HandleNotAvailable", "Handle already taken: a.test")

    async with serving(endpoint("com.atproto.server.describeServer", refuse)) as client:
        async with client.get("/xrpc/com.atproto.server.describeServer") as got:
            assert await answer(got) == (400, "HandleNotAvailable", "Handle already taken: a.test")


async def test_our_own_fault_says_nothing_of_itself(capsys: pytest.CaptureFixture[str]) -> None:
    async def fail(_: Ctx) -> Answer:
        raise ValueError("the password is swordfish")

    async with serving(endpoint("com.atproto.server.describeServer", fail)) as client:
        async with client.get("/xrpc/com.atproto.server.describeServer") as got:
            status, name, message = await answer(got)

    error_id = str(message).partition("(id ")[2].rstrip(")")
    logged = capsys.readouterr().out
    assert (status, name) == (500, "InternalServerError")
    assert "swordfish" not in str(message)
    assert logged.count(error_id) == 1
    assert "swordfish" in logged


@pytest.mark.parametrize(
    ("auth", "headers", "status", "name"),
    [
        (Auth.ACCESS, {}, 401, "AuthMissing"),
        (Auth.ACCESS, bearer("nonsense"), 400, "InvalidToken"),
        (Auth.ACCESS, bearer(TOKENS.refresh(DID, "jti")), 400, "InvalidToken"),
        (Auth.ACCESS, bearer(Tokens(b"x" * 64, SERVICE, 60, 60, time.time).access(DID)), 400, "InvalidToken"),
        (Auth.ACCESS, bearer(Tokens(b"s" * 64, SERVICE, -60, 60, time.time).access(DID)), 400, "ExpiredToken"),
        (Auth.ACCESS, bearer(TOKENS.access(DID, Scope.TAKENDOWN)), 400, "InvalidToken"),
        (Auth.TAKENDOWN, bearer(TOKENS.access(DID, Scope.TAKENDOWN)), 200, None),
        (Auth.ACCESS, bearer(TOKENS.access(DID)), 200, None),
        (Auth.REFRESH, bearer(TOKENS.access(DID)), 400, "InvalidToken"),
        (Auth.REFRESH, bearer(TOKENS.refresh(DID, "jti")), 200, None),
        (Auth.OPTIONAL, {}, 200, None),
        (Auth.OPTIONAL, bearer("nonsense"), 400, "InvalidToken"),
        (Auth.ADMIN, {}, 401, "AuthMissing"),
        (Auth.ADMIN, bearer(TOKENS.access(DID)), 401, "AuthMissing"),
        (Auth.ADMIN, {"Authorization": "Basic " + base64.b64encode(b"admin:no").decode()}, 401, None),
        (Auth.ADMIN, {"Authorization": "Basic !"}, 401, None),
        (Auth.ADMIN, {"Authorization": "Basic " + base64.b64encode(b"admin:hunter2").decode()}, 200, None),
        (Auth.SERVICE, bearer(TOKENS.access(DID)), 401, "BadJwtType"),
    ],
)
async def test_each_mode_takes_its_own_credential(auth, headers, status, name) -> None:
    async with serving(endpoint("com.atproto.server.describeServer", auth=auth)) as client:
        async with client.get("/xrpc/com.atproto.server.describeServer", headers=headers) as got:
            found = await answer(got)

    assert found[0] == status
    assert name is None or found[1] == name
    if status == 401:
        assert "WWW-Authenticate" in got.headers


async def test_a_service_token_names_its_method_and_serves_a_query_until_it_expires() -> None:
    nsid = "app.bsky.actor.getProfile"
    token = service_auth.create(KEY, DID, SERVICE, nsid, time.time())
    other = service_auth.create(KEY, DID, SERVICE, "app.bsky.feed.getTimeline", time.time())
    async with serving(endpoint(nsid, auth=Auth.OPTIONAL)) as client:
        for _ in range(3):
            async with client.get(f"/xrpc/{nsid}?actor=alice.test", headers=bearer(token)) as got:
                body = await got.json()
                assert (body["viewer"], body["kind"]) == (DID, "service")
        async with client.get(f"/xrpc/{nsid}?actor=alice.test", headers=bearer(other)) as got:
            wrong = await answer(got)

    assert wrong[:2] == (401, "BadJwtLexiconMethod")


async def test_a_service_token_changes_something_once() -> None:
    nsid = "app.bsky.graph.muteActor"
    token = service_auth.create(KEY, DID, SERVICE, nsid, time.time())
    async with serving(endpoint(nsid, auth=Auth.SERVICE)) as client:
        async with client.post(f"/xrpc/{nsid}", json={"actor": "bob.test"}, headers=bearer(token)) as got:
            assert got.status == 200
        async with client.post(f"/xrpc/{nsid}", json={"actor": "bob.test"}, headers=bearer(token)) as got:
            assert (await answer(got))[:2] == (401, "JwtReplayed")


async def test_a_rate_limit_is_announced_and_then_enforced() -> None:
    limiter = RateLimiter(time.time, scale=0.1)
    nsid = "com.atproto.server.createSession"
    async with serving(endpoint(nsid), limiter=limiter) as client:
        for left in (2, 1, 0):
            async with client.post(SESSION, json={"identifier": "a.test", "password": "x"}) as got:
                assert (got.status, got.headers["RateLimit-Remaining"]) == (200, str(left))
        async with client.post(SESSION, json={"identifier": "A.test", "password": "x"}) as got:
            limited = await answer(got)
        async with client.post(SESSION, json={"identifier": "b.test", "password": "x"}) as got:
            other = got.status

    assert limited[:2] == (429, "RateLimitExceeded")
    assert got.headers["RateLimit-Policy"] == "3;w=300"
    assert other == 200


async def test_points_are_what_a_call_costs() -> None:
    limiter = RateLimiter(time.time)
    nsid = "com.atproto.repo.createRecord"
    costly = endpoint(nsid, auth=Auth.ACCESS, points=lambda _: 3)
    async with serving(costly, limiter=limiter) as client:
        body = {"repo": DID, "collection": "app.bsky.feed.post", "record": {"$type": "app.bsky.feed.post"}}
        for _ in range(700):
            async with client.post(f"/xrpc/{nsid}", json=body, headers=bearer(TOKENS.access(DID))) as got:
                assert got.status == 200
                await got.read()

    assert got.headers["RateLimit-Limit"] == "3000"  # the address's own allowance is nearer its end
    assert got.headers["RateLimit-Remaining"] == "2300"


async def test_a_read_waits_for_the_viewers_own_write_and_says_how_far_it_is() -> None:
    async def repo_rev(_: str) -> str | None:
        return "3krev"

    nsid = "app.bsky.actor.getProfile"
    view = endpoint(nsid, auth=Auth.OPTIONAL)
    async with serving(views=(view,), appview=SimpleNamespace(repo_rev=repo_rev)) as client:
        url = f"/xrpc/{nsid}?actor=alice.test"
        async with client.get(url, headers=bearer(TOKENS.access(DID))) as got:
            own = got.headers["Atproto-Repo-Rev"]
        async with client.get(url, headers=bearer(TOKENS.access(DID))) as got:
            assert got.status == 200
        async with client.get(url) as got:
            anonymous = got.headers.get("Atproto-Repo-Rev")

    assert own == "3krev"
    assert anonymous is None
    assert client.seen.asked == [(0, 9), (0, 9)]


async def test_a_viewer_whose_write_is_held_is_answered_from_nothing_older_and_nobody_else_is() -> None:
    class Held:
        waits_for = Kind.ACCESS
        moment: float | None = 7.0

        async def wait(self, _viewer: str, _said: str | None) -> None: ...

        async def rev(self, _viewer: str, said: str | None, _appview: object) -> str | None:
            return said

        def since(self, _viewer: str) -> float | None:
            return self.moment

    class Views:
        def __init__(self, name: str) -> None:
            self.name = name

        def since(self, moment: float) -> Views:
            return Views(f"{self.name} since {moment}")

    async def views_of(ctx: Ctx) -> Answer:
        return {"views": ctx.services.appview.name, "fresh": ctx.services.fresh is fresh}

    nsid = "app.bsky.actor.getProfile"
    fresh = Held()
    found = []
    async with serving(views=(endpoint(nsid, views_of, Auth.OPTIONAL),), appview=Views("all"), fresh=fresh) as client:
        for moment, headers in ((7.0, bearer(TOKENS.access(DID))), (None, bearer(TOKENS.access(DID))), (7.0, {})):
            fresh.moment = moment
            async with client.get(f"/xrpc/{nsid}?actor=alice.test", headers=headers) as got:
                found.append(await got.json())

    assert found == [{"views": name, "fresh": True} for name in ("all since 7.0", "all", "all")]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"{SERVICE}#bsky_appview", 200),
        ("did:web:other.example#bsky_appview", 400),
        (f"{SERVICE}#bsky_chat", 400),
        (SERVICE, 400),
        ("#bsky_appview", 400),
        (f"{SERVICE}#a#b", 400),
        (f"{SERVICE}# x", 400),
    ],
)
async def test_the_proxy_header_reaches_our_appview_and_no_other(header: str, status: int) -> None:
    nsid = "app.bsky.actor.getProfile"
    async with serving(views=(endpoint(nsid),)) as client:
        async with client.get(f"/xrpc/{nsid}?actor=alice.test", headers={"atproto-proxy": header}) as got:
            assert got.status == status


async def test_raw_answers_keep_type_status_and_headers() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async def car(_: Ctx) -> Answer:
        return Raw("application/vnd.ipld.car", pieces(), {"X-Piece": "2"})

    nsid = "com.atproto.sync.getRepo"
    async with serving(endpoint(nsid, car)) as client, client.get(f"/xrpc/{nsid}?did={DID}") as got:
        assert await got.read() == b"onetwo"
        assert (got.content_type, got.headers["X-Piece"]) == ("application/vnd.ipld.car", "2")


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "400"}], ids=["in chunks", "of a length"])
@pytest.mark.parametrize("error", [RuntimeError("ours"), XrpcError("RepoNotFound", "gone meanwhile")])
async def test_a_stream_that_fails_later_is_cut_off_and_nobody_takes_the_error_for_a_part_of_it(headers, error) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        raise error

    async def car(_: Ctx) -> Answer:
        return Raw("application/vnd.ipld.car", pieces(), headers)

    got = bytearray()

    async def read() -> None:
        async with client.get(f"/xrpc/com.atproto.sync.getRepo?did={DID}") as response:
            async for piece in response.content.iter_any():
                got.extend(piece)

    async with serving(endpoint("com.atproto.sync.getRepo", car)) as client:
        with pytest.raises(aiohttp.ClientError):
            await read()

    assert b"one".startswith(got)


async def test_a_stream_that_fails_at_once_is_still_an_error() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        raise XrpcError("RepoNotFound", "Could not find repo for DID: x")
        yield b""

    async def car(_: Ctx) -> Answer:
        return Raw("application/vnd.ipld.car", pieces())

    nsid = "com.atproto.sync.getRepo"
    async with serving(endpoint(nsid, car)) as client, client.get(f"/xrpc/{nsid}?did={DID}") as got:
        assert (await answer(got))[:2] == (400, "RepoNotFound")


async def test_a_browser_may_ask_first() -> None:
    async with serving() as client:
        headers = {"Origin": "https://app.example", "Access-Control-Request-Headers": "authorization,content-type"}
        async with client.options(SESSION, headers=headers) as got:
            assert got.status == 204
            assert got.headers["Access-Control-Allow-Origin"] == "*"
            assert got.headers["Access-Control-Allow-Headers"] == "authorization,content-type"


async def test_the_pages_beside_xrpc() -> None:
    async with serving() as client:
        async with client.get("/xrpc/_health") as got:
            assert await got.json() == {"version": "headrace 0.1.0"}
        async with client.get("/robots.txt") as got:
            assert "User-agent: *" in await got.text()
        async with client.get("/.well-known/atproto-did", headers={"Host": "Alice.test:2583"}) as got:
            assert (got.status, await got.text()) == (200, DID)
        async with client.get("/.well-known/atproto-did", headers={"Host": "bob.test"}) as got:
            assert got.status == 404
        async with client.get("/.well-known/did.json") as got:
            assert (await got.json())["id"] == SERVICE
        async with client.get("/nothing") as got:
            assert got.status == 404
        async with client.post("/robots.txt") as got:
            assert got.status == 405


async def test_metrics_count_by_method_and_status_and_know_no_other_names() -> None:
    async with serving(endpoint("com.atproto.server.describeServer")) as client:
        for path in ("com.atproto.server.describeServer", "com.example.made.up", "app.bsky.feed.getTimeline"):
            async with client.get(f"/xrpc/{path}") as got:
                await got.read()
        await asyncio.sleep(0)
        counted = {
            tuple(sample.labels.values()): sample.value
            for metric in client.registry.collect()
            for sample in metric.samples
            if sample.name == "headrace_xrpc_requests_total"
        }

    assert counted == {
        ("com.atproto.server.describeServer", "200"): 1.0,
        ("app.bsky.feed.getTimeline", "501"): 1.0,
    }


def test_an_endpoint_without_a_lexicon_is_a_mistake_of_ours() -> None:
    metrics = HttpMetrics(CollectorRegistry())
    services = Services(config=CONFIG, metrics=metrics)
    with pytest.raises(ValueError, match=r"com\.example\.none"):
        Dispatcher(lexicon.load(), services, None, metrics, pds=[endpoint("com.example.none")])
