"""Requests that are wrong as HTTP or as JSON: answered by name, and nothing happens."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import zlib

import orjson
import pytest

from api import body as api_body
from schemas.limits import CBOR_DEPTH_MAX
from tests.support.hostile import POST, REPO, SERVER, post, raw, request, untouched

CREATE = f"{REPO}.createRecord"
JSON = {"Content-Type": "application/json"}


def nested(depth: int) -> object:
    value: object = "bottom"
    for _ in range(depth):
        value = [value]
    return value


def write(did: str, **more: object) -> bytes:
    return orjson.dumps({"repo": did, "collection": POST, "record": post(**more)})


async def test_malformed_json_is_an_invalid_request_and_writes_nothing(house) -> None:
    alice = await house.join("alice")
    record = write(alice.did).decode()

    def with_value(text: str) -> bytes:
        return record.replace('"hello"', '"hello","x":' + text).encode()

    bad = {
        "nothing but space": b"   ",
        "cut": record[:-3].encode(),
        "two values": (record + record).encode(),
        "an array": b"[" + record.encode() + b"]",
        "null": b"null",
        "a number": b"7",
        "not UTF-8": record.encode().replace(b"hello", b"\xff\xfe\x80"),
        "UTF-16": record.encode("utf-16"),
        "a byte order mark": b"\xef\xbb\xbf" + record.encode(),
        "a lone surrogate": record.replace("hello", "\\ud800").encode(),
        "a control character": record.replace("hello", "a\x00b").encode(),
        "a comment": b"/* hi */" + record.encode(),
        "NaN": with_value("NaN"),
        "Infinity": with_value("-Infinity"),
        "a float": with_value("1.5"),
        "a float without a fraction": with_value("1e3"),
        "2**63": with_value(str(2**63)),
        "2**64": with_value(str(2**64)),
        "-2**63-1": with_value(str(-(2**63) - 1)),
        "10**400": with_value("1" + "0" * 400),
        "a link that is none": with_value('{"$link":"nonsense"}'),
        "a link and more": with_value('{"$link":"bafyreiapzyf65cmq55jklpnrihiygze2jmmdqvvkwqeiomd72pbp2iazuu","x":1}'),
        "bytes that are none": with_value('{"$bytes":"***"}'),
        "an empty $type": with_value('{"$type":""}'),
        "a $type that is a number": with_value('{"$type":7}'),
        "a blob that is none": with_value('{"$type":"blob","ref":"x"}'),
        "33 deep": with_value(json.dumps(nested(CBOR_DEPTH_MAX - 1))),
        "900 deep": with_value("[" * 900 + "]" * 900),
        "100,000 deep": with_value("[" * 100_000 + "]" * 100_000),
        "900 deep and never closed": with_value('{"a":' * 900),
        "no repo": orjson.dumps({"collection": POST, "record": post()}),
        "a repo that is a number": orjson.dumps({"repo": 7, "collection": POST, "record": post()}),
        "a record that is text": orjson.dumps({"repo": alice.did, "collection": POST, "record": "text"}),
        "a record that is null": orjson.dumps({"repo": alice.did, "collection": POST, "record": None}),
    }

    async with untouched(house, alice):
        for name, body in bad.items():
            answer = await house.post(CREATE, headers={**alice.auth, **JSON}, data=body)
            assert answer.error == (400, "InvalidRequest"), (name, answer.body)
            assert len(answer.body["message"]) < 1_000, name
    ok = await house.post(
        CREATE, headers={**alice.auth, **JSON}, data=with_value(json.dumps(nested(CBOR_DEPTH_MAX - 2)))
    )
    assert ok.status == 200


async def test_a_json_body_at_the_limit_is_taken_and_one_byte_more_is_413(house) -> None:
    alice = await house.join("alice")
    limit = house.settings.json_limit
    whole = write(alice.did).ljust(limit)

    async def in_pieces(body: bytes):
        for at in range(0, len(body), 300_000):
            yield body[at : at + 300_000]

    for body in (io.BytesIO(whole), in_pieces(whole)):
        answer = await house.post(CREATE, headers={**alice.auth, **JSON}, data=body)
        assert answer.status == 200, answer.body
    async with untouched(house, alice):
        for body in (io.BytesIO(whole + b" "), in_pieces(whole + b" ")):
            answer = await house.post(CREATE, headers={**alice.auth, **JSON}, data=body)
            assert answer.error == (413, "PayloadTooLarge")


async def test_a_compressed_bomb_is_refused_and_a_compressed_request_is_read(house, caplog) -> None:
    alice = await house.join("alice")
    zipped = {**alice.auth, **JSON, "Content-Encoding": "gzip"}

    good = await house.post(CREATE, headers=zipped, data=gzip.compress(write(alice.did)))
    async with untouched(house, alice):
        bomb = await house.post(CREATE, headers=zipped, data=gzip.compress(write(alice.did) + b" " * 50_000_000))
        cut = await house.post(CREATE, headers=zipped, data=gzip.compress(write(alice.did))[:-20])
        noise = await house.post(CREATE, headers=zipped, data=b"\x1f\x8bnot gzip at all" * 9)
        deflated = await house.post(
            CREATE,
            headers={**zipped, "Content-Encoding": "deflate"},
            data=zlib.compress(write(alice.did) + b" " * 50_000_000),
        )

    assert good.status == 200
    assert bomb.status in (400, 413)
    assert deflated.status in (400, 413)
    assert (cut.status, noise.status) == (400, 400)
    assert not caplog.records


async def test_another_content_type_is_named(house) -> None:
    alice = await house.join("alice")
    record = write(alice.did)

    async with untouched(house, alice):
        for kind in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "*/*",
            "json",
        ):
            answer = await house.post(CREATE, headers={**alice.auth, "Content-Type": kind}, data=record)
            assert answer.error == (400, "InvalidRequest"), kind
            assert "Content-Type" in answer.body["message"]
        empty = await house.post(CREATE, headers={**alice.auth, **JSON}, data=b"")
        assert empty.error == (400, "InvalidRequest")
    for kind in ("application/json; charset=utf-8", "Application/JSON"):
        answer = await house.post(CREATE, headers={**alice.auth, "Content-Type": kind}, data=record)
        assert answer.status == 200, kind


async def test_http_that_contradicts_itself_is_refused(house) -> None:
    alice = await house.join("alice")
    record = write(alice.did)
    head = {**alice.auth, **JSON}
    smuggled = b"0\r\n\r\n" + request(CREATE, head, record)
    bad = {
        "both lengths": request(CREATE, {**head, "Transfer-Encoding": "chunked", "Content-Length": "5"}, smuggled),
        "a negative length": request(CREATE, head, record, length=-1),
        "a length that is text": request(CREATE, {**head, "Content-Length": "many"}, record),
        "a chunk size that is text": request(CREATE, {**head, "Transfer-Encoding": "chunked"}, b"zz\r\n" + record),
        "a chunk size beyond all": request(
            CREATE, {**head, "Transfer-Encoding": "chunked"}, b"f" * 30 + b"\r\n" + record
        ),
        "a header without a colon": request(CREATE, {**head, "X": "y\r\nnonsense"}, record),
        "a header of 20,000 bytes": request(CREATE, {**head, "X": "y" * 20_000}, record),
        "a path of 20,000 bytes": request(CREATE + "?x=" + "y" * 20_000, head, record),
        "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        "HTTP/9.9": request(CREATE, head, record).replace(b"HTTP/1.1", b"HTTP/9.9", 1),
    }

    async with untouched(house, alice):
        for name, data in bad.items():
            answer = await raw(house, data, end=True)
            assert answer == b"" or answer.split(b" ", 2)[1] in (b"400", b"505"), (name, answer)


async def test_a_body_that_ends_early_writes_nothing(house) -> None:
    alice = await house.join("alice")
    record = write(alice.did)

    async with untouched(house, alice):
        for length in (len(record) + 1, 2_000_000):
            await raw(house, request(CREATE, {**alice.auth, **JSON}, record, length=length), end=True)
        chunked = {**alice.auth, **JSON, "Transfer-Encoding": "chunked"}
        await raw(house, request(CREATE, chunked, f"{len(record):x}\r\n".encode() + record + b"\r\n"), end=True)


async def test_a_body_that_never_comes_is_not_waited_for(house, monkeypatch) -> None:
    monkeypatch.setattr(api_body, "_PIECE_SECONDS", 0.05)
    alice = await house.join("alice")
    record = write(alice.did)

    async with untouched(house, alice):
        answers = await asyncio.gather(
            *(raw(house, request(CREATE, {**alice.auth, **JSON}, record[:40], length=len(record))) for _ in range(20))
        )

    assert {answer.split(b" ", 2)[1] for answer in answers} == {b"408"}


async def test_verbs_and_names_that_are_wrong_say_so(house) -> None:
    alice = await house.join("alice")
    url = house.network.addresses["xrpc"]

    async def status(verb: str, path: str) -> tuple[int, str]:
        async with house.session.request(verb, f"{url}{path}", headers=alice.auth) as response:
            return response.status, (orjson.loads(await response.read()) or {}).get("error", "")

    async with untouched(house, alice):
        for verb in ("PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"):
            assert await status(verb, f"/xrpc/{CREATE}") == (405, "MethodNotAllowed")
        assert await status("GET", f"/xrpc/{CREATE}") == (400, "InvalidRequest")
        assert await status("POST", f"/xrpc/{SERVER}.describeServer") == (400, "InvalidRequest")
        assert await status("GET", "/xrpc/com.example.unheardOf") == (501, "MethodNotImplemented")
        assert await status("GET", "/xrpc/app.bsky.unspecced.getConfig") == (501, "MethodNotImplemented")
        for path in ("/xrpc/", "/xrpc/x", "/xrpc/com.atproto", "/xrpc/a..b", "/xrpc/com.example.ü"):
            assert await status("GET", path) == (400, "InvalidRequest"), path
        for path in ("/xrpc", "/admin", "/metrics", "/status", "/ingest/frames", "/favicon.ico"):
            assert (await status("GET", path))[0] == 404, path
        assert await status("GET", f"/xrpc/{'a' * 5_000}") == (400, "InvalidRequest")
        for path in (b"/xrpc/../../etc/passwd", b"/xrpc/%2e%2e%2fetc", b"/xrpc//", b"/xrpc/%00", b"/xrpc/%ff", b"//x"):
            answer = await raw(house, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert answer.split(b" ", 2)[1] in (b"400", b"404"), (path, answer)


@pytest.mark.parametrize("number", [100, 2_000])
async def test_a_query_string_of_any_length_is_read_or_refused(house, number: int) -> None:
    query = "&".join(f"cids=x{n}" for n in range(number))
    url = f"{house.network.addresses['xrpc']}/xrpc/com.atproto.sync.getBlocks?did=did:plc:abc&{query}"

    async with house.session.get(url) as response:
        assert response.status == 400
        if number == 100:
            assert (await response.json(content_type=None))["error"] == "InvalidRequest"
