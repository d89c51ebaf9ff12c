"""Blobs that are too large, lie about what they are, or end early: bounded, and never a page of ours."""

from __future__ import annotations

import gzip
import io
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from headrace.settings import load
from headrace.wiring.embedded import Network
from tests.scenarios.conftest import House
from tests.support.hostile import REPO, SYNC, post, raw, request, untouched

UPLOAD = f"{REPO}.uploadBlob"
LIMIT = 65_536
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 60
HTML = b"<!doctype html><html><script>alert(document.cookie)</script></html>"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A network that takes small blobs only."""
    found = load({"data": tmp_path / "data", "port": 0, "plc_port": 0, "ops_port": 0, "blob_limit": LIMIT})
    network = await Network.open(found)
    try:
        async with aiohttp.ClientSession() as session:
            yield House(found, network, session)
    finally:
        await network.close()


async def upload(house, member, data: object, kind: str = "image/png", **headers: str):
    return await house.post(UPLOAD, data=data, headers={**member.auth, "Content-Type": kind, **headers})


def files(house) -> list[Path]:
    return [path for path in (house.settings.data / "blobs").rglob("*") if path.is_file()]


async def in_pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 10_000):
        yield data[at : at + 10_000]


async def test_a_blob_at_the_limit_is_taken_and_one_byte_more_leaves_nothing(house) -> None:
    alice = await house.join("alice")
    whole = PNG + b"x" * (LIMIT - len(PNG))

    async with untouched(house, alice):
        for data in (whole + b"x", in_pieces(whole + b"x"), io.BytesIO(whole * 20)):
            answer = await upload(house, alice, data)
            assert answer.error == (413, "PayloadTooLarge")
        assert files(house) == []
        for data in (whole, in_pieces(whole)):
            answer = await upload(house, alice, data)
            assert answer.status == 200, answer.body
            assert answer.body["blob"]["size"] == LIMIT
        assert len(files(house)) == 1


async def test_a_compressed_blob_is_measured_by_what_it_becomes(house) -> None:
    alice = await house.join("alice")

    async with untouched(house, alice):
        bomb = await upload(house, alice, gzip.compress(b"\x00" * 30_000_000), **{"Content-Encoding": "gzip"})
        assert bomb.status in (400, 413)
        noise = await upload(house, alice, b"\x1f\x8b" + b"not gzip", **{"Content-Encoding": "gzip"})
        assert noise.error == (400, "InvalidRequest")
        assert files(house) == []


async def test_an_upload_that_breaks_off_leaves_nothing(house) -> None:
    alice = await house.join("alice")

    async with untouched(house, alice):
        for sent in (0, 1, 30_000):
            head = {**alice.auth, "Content-Type": "image/png"}
            await raw(house, request(UPLOAD, head, PNG.ljust(sent)[:sent], length=60_000), end=True)
        chunked = {**alice.auth, "Content-Type": "image/png", "Transfer-Encoding": "chunked"}
        await raw(house, request(UPLOAD, chunked, b"40\r\n" + PNG[:64] + b"\r\n"), end=True)
        assert (await house.post(UPLOAD, data=PNG, headers={"Content-Type": "image/png"})).error == (401, "AuthMissing")
        assert files(house) == []


@pytest.mark.parametrize(
    ("claimed", "data", "served"),
    [
        ("text/html", HTML, "text/html"),
        ("text/html; charset=utf-8", HTML, "text/html"),
        ("text/javascript", b"alert(1)", "text/javascript"),
        ("application/xhtml+xml", b'<html xmlns="http://www.w3.org/1999/xhtml"/>', "application/xhtml+xml"),
        ("image/svg+xml", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "image/svg+xml"),
        ("application/pdf", b"%PDF-1.7\n" + HTML, "application/pdf"),
        ("image/png", HTML, "image/png"),
        ("text/html", PNG, "image/png"),
        ("image/jpeg", PNG, "image/png"),
        ("image/png", b"GIF89a" + HTML, "image/gif"),
        ("*/*", PNG, "image/png"),
        ("application/octet-stream", b"\x00\x01", "application/octet-stream"),
    ],
)
async def test_what_a_blob_claims_to_be_makes_it_no_page(house, claimed: str, data: bytes, served: str) -> None:
    alice = await house.join("alice")

    blob = (await upload(house, alice, data, claimed)).body["blob"]
    await house.create(alice, "com.example.file", {"file": blob})
    answer = await house.get(f"{SYNC}.getBlob", did=alice.did, cid=blob["ref"]["$link"])

    assert answer.status == 200
    assert blob["mimeType"] == served
    assert answer.headers["Content-Type"] == served
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    shown = served in ("image/png", "image/gif", "image/jpeg")
    assert ("Content-Disposition" in answer.headers) is not shown
    if not shown:
        assert answer.headers["Content-Disposition"].startswith("attachment;")


async def test_a_content_type_that_is_none_is_refused_and_reaches_no_header(house) -> None:
    alice = await house.join("alice")
    for kind in (
        "",
        "nonsense",
        "text/",
        "a/b/c",
        "x" * 5_000,
        "text/html\x7f",
        "téxt/html",
        "text/ html",
        "text/html\u2028",
    ):
        wanted = {**alice.auth, "Content-Type": kind}
        sent = request(UPLOAD, {name: value for name, value in wanted.items() if value}, b"<b>")
        answer = await raw(house, sent.decode().encode("utf-8"))
        status = answer.split(b" ", 2)[1]
        assert status in (b"200", b"400"), (kind, answer)
        if status == b"200":
            assert b"mimeType" in answer


async def test_a_record_may_not_lie_about_its_blob(house) -> None:
    alice, bobby = await house.join("alice"), await house.join("bobby")
    blob = (await upload(house, alice, PNG)).body["blob"]
    page = (await upload(house, alice, HTML, "text/html")).body["blob"]

    def avatar(image: object) -> dict[str, object]:
        return {"$type": "app.bsky.actor.profile", "avatar": image}

    async def put(member, record: dict[str, object]):
        body = {"repo": member.did, "collection": "app.bsky.actor.profile", "rkey": "self", "record": record}
        return await house.post(f"{REPO}.putRecord", body, member.auth)

    async with untouched(house, alice, bobby):
        assert (await put(alice, avatar({**blob, "mimeType": "image/jpeg"}))).error == (400, "InvalidMimeType")
        assert (await put(alice, avatar({**blob, "size": 1}))).error == (400, "InvalidSize")
        assert (await put(alice, avatar({**blob, "size": -1}))).status == 400
        assert (await put(alice, avatar(page))).error == (400, "InvalidRequest")
        assert (await put(bobby, avatar(blob))).error == (400, "BlobNotFound")
        assert (await put(alice, avatar({**blob, "ref": {"$link": "bafkqaaa"}}))).status == 400
        big = {**blob, "size": 1_000_001}
        images = {"$type": "app.bsky.embed.images", "images": [{"image": big, "alt": ""}]}
        body = {"repo": alice.did, "collection": "app.bsky.feed.post", "record": post(embed=images)}
        assert (await house.post(f"{REPO}.createRecord", body, alice.auth)).status == 400
        for cid in ("nonsense", "bafkreias7oxbr6swsuggccmtnqpoeami4jza5x4w3urltn6gzhqf4k6k2e", "../../accounts.sqlite"):
            assert (await house.get(f"{SYNC}.getBlob", did=alice.did, cid=cid)).status == 400
        other = await house.get(f"{SYNC}.getBlob", did=bobby.did, cid=blob["ref"]["$link"])
        assert other.error == (400, "BlobNotFound")
    assert (await put(alice, avatar(blob))).status == 200
