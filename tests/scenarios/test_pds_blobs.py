"""Blobs from upload to collection, and the references that keep them."""

from __future__ import annotations

import asyncio
import json

import pytest

from ingest.pds.writes import Write
from schemas.cid import Cid
from schemas.errors import XrpcError
from tests.support.pds_world import POST, World, joined, key, pieces

HOUR = 3600 * 1_000_000
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(100)


@pytest.fixture
async def world(tmp_path):
    world = await World(tmp_path, {"blob_limit": 2_000_000}).open()
    yield world
    await world.close()


async def refused(awaitable) -> XrpcError:
    with pytest.raises(XrpcError) as caught:
        await awaitable
    return caught.value


def image(world, blob, **more) -> dict:
    shown = {"$type": "blob", "ref": blob.cid, "mimeType": blob.mime, "size": blob.size} | more
    return world.record(embed={"$type": "app.bsky.embed.images", "images": [{"image": shown, "alt": ""}]})


def path(world, did, blob):
    return world.pds._parts.blobs._files.path(did, blob.cid)


async def test_an_uploaded_asset_has_the_cid_of_the_reference(world, vectors):
    alice = await world.account()
    assets = vectors("bluesky-social/atproto/packages/dev-env/assets")
    expected = json.loads(vectors("derived/blob_cids.json").read_bytes())

    for name, wanted in expected.items():
        data = (assets / name).read_bytes()
        blob = await world.pds.upload_blob(alice.did, pieces(data), "application/octet-stream")
        opened = await world.pds.sync.open_blob(alice.did, blob.cid)
        assert (str(blob.cid), blob.size) == (wanted["cid"], wanted["size"])
        assert blob.mime == ("image/png" if name.endswith("png") else "image/jpeg")
        assert (opened.mime, opened.size, await joined(opened.chunks)) == (blob.mime, blob.size, data)
    assert expected


async def test_the_bytes_decide_the_type_and_text_keeps_the_clients_claim(world):
    alice = await world.account()

    png = await world.pds.upload_blob(alice.did, pieces(PNG), "text/html")
    html = await world.pds.upload_blob(alice.did, pieces(b"<html><script>1</script></html>"), "image/png")
    text = await world.pds.upload_blob(alice.did, pieces(b"BMW is a car maker"), "text/plain")
    svg = await world.pds.upload_blob(alice.did, pieces(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "text/xml")
    empty = await world.pds.upload_blob(alice.did, pieces(b""), "text/plain")

    assert svg.mime == "text/xml"
    assert (png.mime, html.mime, text.mime, empty.size) == ("image/png", "image/png", "text/plain", 0)


async def test_a_blob_at_the_limit_is_taken_and_one_byte_more_is_refused_and_leaves_nothing(world):
    alice = await world.account()

    taken = await world.pds.upload_blob(alice.did, pieces(bytes(2_000_000)), "text/plain")
    error = await refused(world.pds.upload_blob(alice.did, pieces(bytes(2_000_001)), "text/plain"))

    assert taken.size == 2_000_000
    assert error.status == 413
    assert list((world.directory / "blobs" / "incoming").iterdir()) == []


async def test_a_record_may_only_refer_to_a_blob_that_is_there_as_it_is(world):
    alice, bob = await world.account(), await world.account()
    blob = await world.pds.upload_blob(alice.did, pieces(PNG), "image/png")
    other = await world.pds.upload_blob(bob.did, pieces(PNG + b"x"), "image/png")

    errors = [
        await refused(world.pds.apply_writes(alice.did, [Write("create", POST, None, record)]))
        for record in (
            image(world, other),
            image(world, blob, mimeType="image/jpeg"),
            image(world, blob, size=blob.size + 1),
        )
    ]
    made = await world.pds.apply_writes(alice.did, [Write("create", POST, None, image(world, blob))])

    assert [error.name for error in errors] == ["BlobNotFound", "InvalidMimeType", "InvalidSize"]
    assert made.commit is not None


async def test_a_blob_that_nothing_refers_to_goes_after_an_hour_and_not_before(world):
    alice = await world.account()
    loose = await world.pds.upload_blob(alice.did, pieces(PNG + b"loose"), "image/png")
    used = await world.pds.upload_blob(alice.did, pieces(PNG + b"used"), "image/png")
    await world.pds.apply_writes(alice.did, [Write("create", POST, key(1), image(world, used))])

    world.now += HOUR - 10_000_000
    early = await world.pds._parts.blobs.collect()
    world.now += 20_000_000
    late = await world.pds._parts.blobs.collect()

    assert (early, late) == (0, 1)
    assert not path(world, alice.did, loose).exists()
    assert (await refused(world.pds.sync.open_blob(alice.did, loose.cid))).name == "BlobNotFound"
    assert await joined((await world.pds.sync.open_blob(alice.did, used.cid)).chunks) == PNG + b"used"


async def test_a_blob_goes_with_its_last_reference(world):
    alice = await world.account()
    blob = await world.pds.upload_blob(alice.did, pieces(PNG), "image/png")
    post = image(world, blob)
    await world.pds.apply_writes(alice.did, [Write("create", POST, key(n), post | {"text": str(n)}) for n in (1, 2)])

    await world.pds.apply_writes(alice.did, [Write("delete", POST, key(1))])
    await world.pds._parts.heads.flush_all()
    first = await world.pds._parts.blobs.collect()
    await world.pds.apply_writes(alice.did, [Write("update", POST, key(2), world.record("no image"))])
    await world.pds._parts.heads.flush_all()
    second = await world.pds._parts.blobs.collect()

    assert (first, second) == (0, 1)
    assert not path(world, alice.did, blob).exists()
    again = await world.pds.upload_blob(alice.did, pieces(PNG), "image/png")
    assert again.cid == blob.cid
    assert path(world, alice.did, blob).exists()


async def test_a_reference_that_moves_to_another_record_keeps_the_blob(world):
    alice = await world.account()
    blob = await world.pds.upload_blob(alice.did, pieces(PNG), "image/png")
    await world.pds.apply_writes(alice.did, [Write("create", POST, key(1), image(world, blob))])
    await world.pds._parts.heads.flush_all()

    await world.pds.apply_writes(
        alice.did, [Write("delete", POST, key(1)), Write("create", POST, key(2), image(world, blob))]
    )
    await world.pds._parts.heads.flush_all()

    assert await world.pds._parts.blobs.collect() == 0
    assert path(world, alice.did, blob).exists()


async def test_references_are_the_same_before_and_after_a_flush(world):
    alice = await world.account()
    blobs = [await world.pds.upload_blob(alice.did, pieces(PNG + bytes([n])), "image/png") for n in range(5)]
    for n, blob in enumerate(blobs):
        await world.pds.apply_writes(alice.did, [Write("create", POST, key(n), image(world, blob))])
    head = await world.pds._parts.heads.get(alice.did)
    fresh = [head.refers_to(blob.cid) for blob in blobs]
    await world.pds.apply_writes(alice.did, [Write("delete", POST, key(0))])
    gone = head.refers_to(blobs[0].cid)

    await world.pds._parts.heads.flush_all()
    flushed = [head.refers_to(blob.cid) for blob in blobs]

    assert fresh == [True] * 5
    assert not gone
    assert flushed == [False, True, True, True, True]


async def test_blobs_are_listed_in_pages_and_since_a_rev(world):
    alice = await world.account()
    blobs = [await world.pds.upload_blob(alice.did, pieces(PNG + bytes([n])), "image/png") for n in range(5)]
    revs = []
    for n, blob in enumerate(blobs):
        made = await world.pds.apply_writes(alice.did, [Write("create", POST, key(n), image(world, blob))])
        revs.append(made.rev)

    first, cursor = await world.pds.sync.list_blobs(alice.did, limit=3)
    rest, end = await world.pds.sync.list_blobs(alice.did, limit=3, cursor=cursor)
    newer, _ = await world.pds.sync.list_blobs(alice.did, since=revs[2])

    assert [*first, *rest] == sorted(blob.cid for blob in blobs)
    assert end is None
    assert newer == sorted(blob.cid for blob in blobs[3:])


async def test_blobs_of_hidden_accounts_and_taken_down_blobs_are_not_served(world):
    alice = await world.account()
    blob = await world.pds.upload_blob(alice.did, pieces(PNG), "image/png")

    await world.pds.deactivate_account(alice.did)
    hidden = await refused(world.pds.sync.open_blob(alice.did, blob.cid))
    own = await world.pds.sync.open_blob(alice.did, blob.cid, as_owner=True)
    await own.chunks.aclose()
    await world.pds.activate_account(alice.did)
    await world.pds.takedowns.take_down_blob(alice.did, blob.cid, "case 9")
    down = await refused(world.pds.sync.open_blob(alice.did, blob.cid))
    refused_ref = await refused(world.pds.apply_writes(alice.did, [Write("create", POST, None, image(world, blob))]))
    reupload = await refused(world.pds.upload_blob(alice.did, pieces(PNG), "image/png"))
    await world.pds.takedowns.take_down_blob(alice.did, blob.cid, None)
    back = await world.pds.sync.open_blob(alice.did, blob.cid)

    assert (hidden.name, down.name, refused_ref.name) == ("RepoDeactivated", "BlobNotFound", "BlobNotFound")
    assert "takendown" in reupload.message
    assert await joined(back.chunks) == PNG
    assert (await refused(world.pds.takedowns.take_down_blob(alice.did, Cid.of_raw(b"?"), "x"))).name == "BlobNotFound"


async def test_a_collector_that_is_hinted_as_it_is_closed_ends(world) -> None:
    await asyncio.sleep(0)  # let it wait for its hint

    world.pds._parts.heads.dropped.set()
    async with asyncio.timeout(10):
        await world.pds._parts.blobs.close()
