"""The directory before a target that crawls players: it knows whom they host, and passes all else on as it came."""

from __future__ import annotations

from pathlib import Path

import aiohttp
from aiohttp import web

from headrace.listeners import address, bind, listen
from headrace.load.archive.reader import Archive
from headrace.load.archive.writer import ArchiveWriter
from headrace.load.front import Front
from headrace.load.serve_archive import ArchiveHost
from headrace.load.synthesis.pool import synthesise
from headrace.load.synthesis.steps import Population
from ingest.identity.did_doc import parse
from schemas.syntax import Did

STRANGER = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"


async def behind(request: web.Request) -> web.Response:
    said = {"method": request.method, "path": request.path_qs, "body": (await request.read()).decode()}
    return web.json_response(said, status=404 if request.method == "GET" else 200)


async def test_accounts_of_hosts_have_them_for_their_pds_and_all_else_goes_to_the_directory_behind(
    tmp_path: Path,
) -> None:
    with ArchiveWriter(tmp_path / "a", source="test") as writer:
        synthesise(Population(seed=3, accounts=2, events=4), writer)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", behind)
    runner, bound = web.AppRunner(app, access_log=None), bind("127.0.0.1", 0, "port")
    await listen(runner, bound)
    async with (
        ArchiveHost(tmp_path / "a") as host,
        Front(address(bound).rstrip("/"), [host]) as front,
        aiohttp.ClientSession() as client,
    ):
        (did, *_) = host._played.heads(lambda _, __: True)
        async with client.get(f"{front.url}/{did}") as known:
            document = await known.json(content_type=None)
        async with client.get(f"{front.url}/{STRANGER}/log/last?a=%2F") as unknown:
            passed = unknown.status, await unknown.json()
        async with client.post(f"{front.url}/{STRANGER}", json={"a": 1}) as founded:
            posted = founded.status, await founded.json()
        url = host.url
        await runner.cleanup()
        async with client.get(f"{front.url}/{STRANGER}") as away:
            without = away.status

    assert parse(Did(did), document).pds == url
    assert Archive(tmp_path / "a").documents(did)[-1][1]["verificationMethod"] == document["verificationMethod"]
    assert passed == (404, {"method": "GET", "path": f"/{STRANGER}/log/last?a=/", "body": ""})
    assert posted == (200, {"method": "POST", "path": f"/{STRANGER}", "body": '{"a": 1}'})
    assert without == 502
