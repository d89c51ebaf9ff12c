"""What hostile tests share: an account's standing before and after, bytes on a bare socket, a repo's CAR by hand.

Does not own what is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from ingest.repo.car import car_bytes
from ingest.repo.commit import UnsignedCommit
from ingest.repo.keys import PrivateKey
from ingest.repo.mst import Tree
from schemas import cbor
from schemas.cid import Cid
from schemas.syntax import Did
from schemas.tid import tid_from_micros

POST = "app.bsky.feed.post"
REPO, SERVER, SYNC = "com.atproto.repo", "com.atproto.server", "com.atproto.sync"
MOMENT = "2026-01-01T00:00:00.000Z"


def post(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"$type": POST, "text": text, "createdAt": MOMENT, **more}


async def standing(house: Any, member: Any) -> tuple[Any, ...]:
    """All that a write could change: the whole repo's bytes, its session, and where the log ends."""
    car = await house.get(f"{SYNC}.getRepo", did=member.did)
    session = await house.get(f"{SERVER}.getSession", member.auth)
    async with house.session.get(f"{house.network.addresses['ops']}/status") as response:
        status = await response.json()
    return car.status, car.body, session.status, session.body, status["log"]["commits_end"], status["log"]["rejected"]


@asynccontextmanager
async def untouched(house: Any, *members: Any) -> AsyncIterator[None]:
    """Whatever happens inside, these accounts and the log are as before, and the server serves."""
    before = [await standing(house, member) for member in members]
    yield
    assert [await standing(house, member) for member in members] == before
    assert (await house.get("_health")).status == 200
    assert (await house.get(f"{SERVER}.describeServer")).status == 200


async def raw(house: Any, data: bytes, *, end: bool = False) -> bytes:
    """Send bytes as they are, and give what comes back until the server closes or falls silent."""
    address = urlsplit(house.network.addresses["xrpc"])
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(data)
        await writer.drain()
        if end:
            writer.write_eof()
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            at = head.lower().find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            return head + await reader.readexactly(size)
    except asyncio.IncompleteReadError as cut:
        return cut.partial
    finally:
        writer.close()


async def frames(house: Any, count: int, cursor: int = 0) -> list[bytes]:
    """Frames of subscribeRepos after `cursor`, as they are sent."""
    url = f"{house.network.addresses['xrpc']}/xrpc/{SYNC}.subscribeRepos?cursor={cursor}"
    async with house.session.ws_connect(url, max_msg_size=0) as socket:
        return [await socket.receive_bytes(timeout=10) for _ in range(count)]


def request(
    nsid: str, headers: Mapping[str, str], body: bytes, *, verb: str = "POST", length: int | None = None
) -> bytes:
    """An HTTP request by hand; `length` lies about the body."""
    lines = [f"{verb} /xrpc/{nsid} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if "Transfer-Encoding" not in headers:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def repo_car(did: str, blocks: dict[bytes, bytes], data: Cid, *, micros: int = 1_760_000_000_000_000) -> bytes:
    """A repo whose tree has the root `data`, signed by a key that nobody knows."""
    signed = UnsignedCommit(Did(did), tid_from_micros(micros, 0), data).sign(PrivateKey.generate())
    return car_bytes(signed.cid, {signed.cid.raw: signed.block, **blocks})


def tree_car(did: str, records: Mapping[str, bytes]) -> bytes:
    """A repo that holds these records (blocks as they are to be, valid or not)."""
    tree, blocks = Tree.empty(), dict[bytes, bytes]()
    for path, record in records.items():
        cid = Cid.of_cbor(record)
        tree.put(path, cid)
        blocks[cid.raw] = record
    data, nodes = tree.write()
    return repo_car(did, {**nodes, **blocks}, data)


def record_of(size: int, letter: str = "x") -> dict[str, Any]:
    """A record of a collection without a lexicon whose DAG-CBOR has exactly `size` bytes."""
    value: dict[str, Any] = {"$type": "com.example.big", "text": letter * (size - 100)}
    value["text"] += letter * (size - len(cbor.encode(value)))
    assert len(cbor.encode(value)) == size
    return value
