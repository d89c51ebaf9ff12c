"""The port to a directory: one suite, both adapters; and the HTTP routes' own words."""

from __future__ import annotations

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer

from api.plc.app import MAX_BODY, build_plc_app
from ingest.identity import plc, plc_op
from ingest.identity.plc_client import PlcHttp
from ingest.identity.plc_op import PlcReason, PlcRefused
from ingest.identity.plc_store import PlcDirectory
from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.repo.keys import PrivateKey
from schemas.syntax import Did

KEY = PrivateKey.generate()
NOBODY = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")


def genesis(handle="alice.test"):
    unsigned = plc_op.account(KEY.public.did_key, handle, "https://pds.test", [KEY.public.did_key])
    return plc_op.parse(plc_op.sign(unsigned, KEY))


@pytest.fixture
async def directory(tmp_path):
    opened = PlcDirectory(tmp_path / "plc.sqlite")
    yield opened
    await opened.close()


@pytest.fixture
async def http(directory):
    async with TestClient(TestServer(build_plc_app(directory))) as client:
        yield client


@pytest.fixture(params=["in_process", "http"])
async def client(request, directory, http):
    if request.param == "in_process":
        yield directory
    else:
        made = PlcHttp(str(http.make_url("/")))
        yield made
        await made.close()


async def test_what_is_submitted_is_read_back(client):
    first = genesis()

    await client.submit(first.did, first.json)

    assert await client.last(first.did) == first.json
    assert await client.data(first.did) == first.data(first.did)
    assert await client.document(first.did) == plc.format_document(first.data(first.did))
    assert [entry.cid for entry in plc.validate_log(await client.audit(first.did))] == [first.cid]


async def test_an_unknown_did_is_not_found(client):
    for read in (client.document, client.data, client.last, client.audit):
        with pytest.raises(IdentityRefused) as refused:
            await read(NOBODY)
        assert refused.value.reason is IdentityReason.NOT_FOUND


async def test_a_tombstoned_did_is_told_apart_and_keeps_its_log(client):
    first = genesis()
    await client.submit(first.did, first.json)
    end = plc_op.sign(plc_op.tombstone(str(first.cid)), KEY)
    await client.submit(first.did, end)

    for read in (client.document, client.data):
        with pytest.raises(IdentityRefused) as refused:
            await read(first.did)
        assert refused.value.reason is IdentityReason.TOMBSTONED
    assert await client.last(first.did) == end
    assert len(await client.audit(first.did)) == 2


async def test_refusals_keep_their_reason(client):
    first = genesis()
    wrong = plc_op.sign(plc_op.updated(first, also_known_as=[]), PrivateKey.generate())
    with pytest.raises(PlcRefused) as hash_refused:
        await client.submit(NOBODY, first.json)
    await client.submit(first.did, first.json)
    with pytest.raises(PlcRefused) as order_refused:
        await client.submit(first.did, first.json)
    with pytest.raises(PlcRefused) as signature_refused:
        await client.submit(first.did, wrong)
    with pytest.raises(PlcRefused) as shape_refused:
        await client.submit(first.did, {"type": "x"})

    reasons = [error.value.reason for error in (hash_refused, order_refused, signature_refused, shape_refused)]
    assert reasons == [PlcReason.GENESIS_HASH, PlcReason.ORDER, PlcReason.SIGNATURE, PlcReason.SHAPE]


async def test_a_directory_that_is_away_is_a_transient_refusal():
    away = PlcHttp("http://127.0.0.1:1")

    with pytest.raises(IdentityRefused) as refused:
        await away.document(NOBODY)
    assert refused.value.transient
    await away.close()


async def body(response, status=200):
    assert response.status == status
    return orjson.loads(await response.read())


async def test_each_route_answers_as_the_public_directory(http, directory):
    first = genesis()
    posted = await http.post(f"/{first.did}", json=first.json)

    document = await http.get(f"/{first.did}")
    audit = await body(await http.get(f"/{first.did}/log/audit"))

    assert (posted.status, await posted.text()) == (200, "OK")
    assert document.content_type == "application/did+ld+json"
    assert (await body(document))["id"] == first.did
    assert (await body(await http.get(f"/{first.did}/data")))["did"] == first.did
    assert await body(await http.get(f"/{first.did}/log")) == [first.json]
    assert await body(await http.get(f"/{first.did}/log/last")) == first.json
    assert audit == await directory.audit(first.did)
    assert set(audit[0]) == {"did", "operation", "cid", "nullified", "createdAt"}
    assert (await body(await http.get("/_health")))["version"]
    assert (await http.get("/")).status == 200


async def test_errors_are_messages_in_the_directory_s_words(http):
    first = genesis()
    end = plc_op.sign(plc_op.tombstone(str(first.cid)), KEY)

    assert await body(await http.get(f"/{NOBODY}"), 404) == {"message": f"DID not registered: {NOBODY}"}
    assert await body(await http.get(f"/{NOBODY}/log"), 404) == {"message": f"DID not registered: {NOBODY}"}
    await http.post(f"/{first.did}", json=first.json)
    again = await http.post(f"/{first.did}", json=first.json)
    assert await body(again, 400) == {"message": "Operations not correctly ordered"}
    await http.post(f"/{first.did}", json=end)
    assert await body(await http.get(f"/{first.did}"), 404) == {"message": f"DID not available: {first.did}"}
    elsewhere = await http.post(f"/{NOBODY}", json=first.json)
    assert (await body(elsewhere, 400))["message"] == (
        f"Hash of genesis operation does not match DID identifier: {first.did}"
    )


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"1e999", b"\xff", b'{"type":1}', b"[" * 5000, b'"\\ud800"'])
async def test_a_body_that_is_no_operation_is_a_400(http, raw):
    answer = await body(await http.post(f"/{NOBODY}", data=raw), 400)

    assert answer["message"].startswith("Not a valid operation")


async def test_a_body_past_the_limit_is_a_413(http):
    assert set(await body(await http.post(f"/{NOBODY}", data=b" " * (MAX_BODY + 1)), 413)) == {"message"}


async def test_unknown_routes_and_methods_are_messages_too(http):
    assert set(await body(await http.get("/a/b/c/d"), 404)) == {"message"}
    assert set(await body(await http.delete(f"/{NOBODY}"), 405)) == {"message"}


async def test_export_is_json_lines_paged_by_time_and_by_number(http, directory):
    ops = [genesis(f"a{number}.test") for number in range(5)]
    for op in ops:
        await directory.submit(op.did, op.json)

    async def lines(**query):
        response = await http.get("/export", params=query)
        assert (response.status, response.content_type) == (200, "application/jsonlines")
        return [orjson.loads(line) for line in (await response.read()).split(b"\n") if line]

    first = await lines(count=2)
    rest = await lines(after=first[-1]["createdAt"])
    numbered = await lines(after=3)

    assert [item["did"] for item in first + rest] == [op.did for op in ops]
    assert [(item["seq"], item["type"]) for item in numbered] == [(4, "sequenced_op"), (5, "sequenced_op")]
    assert len(await lines(count=100_000)) == 5
    for count in ("0", "-1", "x", "1e3"):
        assert await body(await http.get("/export", params={"count": count}), 400) == {
            "message": "Invalid count parameter"
        }
    assert (await http.get("/export", params={"after": "yesterday"})).status == 400
