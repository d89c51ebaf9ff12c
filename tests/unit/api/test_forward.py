"""A PDS of a cluster hands calls on to an AppView: what arrives there is what came."""

from __future__ import annotations

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, make_mocked_request

from api.forward import AppViewClient, forwarded
from api.xrpc import Ctx, Endpoint, Raw, Services
from schemas import data

MUTE = "app.bsky.graph.muteActor"
CID = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"


@pytest.fixture
async def appview():
    """Gives back what it is sent."""

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read(), content_type="application/json")

    app = web.Application()
    app.router.add_post("/xrpc/{nsid}", echo)
    async with TestServer(app) as server:
        client = AppViewClient(str(server.make_url("")))
        yield client
        await client.close()


@pytest.mark.parametrize(
    "more",
    [{}, {"later": {"$bytes": "AAEC"}}, {"later": [{"$link": CID}]}],
    ids=["what is known", "bytes", "a link"],
)
async def test_a_procedure_is_handed_on_with_all_that_it_holds(appview, more):
    said = {"actor": "alice.test", **more}
    (endpoint,) = forwarded((Endpoint(MUTE, lambda _: None),), appview)
    ctx = Ctx(MUTE, Services(), request=make_mocked_request("POST", f"/xrpc/{MUTE}"))
    ctx.input = data.loads(orjson.dumps(said))

    answer = await endpoint.handle(ctx)

    assert isinstance(answer, Raw)
    assert orjson.loads(answer.body) == said
