"""What a message takes in memory is what it is counted for: by tracemalloc, for every shape that a host may choose."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from ingest.relay.source import Numbered
from ingest.relay.weight import weight
from ingest.repo.frame import account_frame, commit_frame, decode_frame, sync_frame
from ingest.repo.messages import ErrorMessage, InfoMessage, UnknownMessage
from schemas import cbor
from schemas.cid import Cid
from schemas.entries import Op, cbor_uint
from schemas.tid import Tid
from tests.relay.world.host import MOMENT
from tests.relay.world.people import did_of

VALUE = Cid.of_cbor(b"\x01")
REV = Tid("3jzfcijpj2z2a")


def commit(operations: int, blocks: int) -> bytes:
    ops = [Op("update", f"app.bsky.feed.post/{number:013d}", VALUE, VALUE, None) for number in range(operations)]
    head, tail = commit_frame(
        did=did_of(1),
        rev=REV,
        since=None,
        commit=VALUE,
        prev_data=None,
        ops=ops,
        blocks=bytes(blocks),
        time=MOMENT,
    )
    return head + cbor_uint(1) + tail


def sync(blocks: int) -> bytes:
    head, tail = sync_frame(did=did_of(1), rev=REV, blocks=bytes(blocks), time=MOMENT)
    return head + cbor_uint(1) + tail


def account(more: int) -> bytes:
    head, tail = account_frame(did=did_of(1), time=MOMENT, active=True, status=None)
    if not more:
        return head + cbor_uint(1) + tail
    body = {"seq": 1, "did": did_of(1), "time": MOMENT, "active": True, "more": "x" * more}
    return cbor.encode({"op": 1, "t": "#account"}) + cbor.encode(body)


FRAMES = {
    "commit": commit(1, 4_000),
    "commit with many operations": commit(5_000, 0),
    "commit with many blocks": commit(0, 1_000_000),
    "sync": sync(500_000),
    "account": account(0),
    "account with a field of its own": account(1_000_000),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_message_is_counted_for_what_it_takes(name: str) -> None:
    frame, count = FRAMES[name], 20

    def read() -> Numbered:
        message = decode_frame(frame)
        assert not isinstance(message, InfoMessage | ErrorMessage | UnknownMessage)
        return message

    counted = weight(read())
    gc.collect()
    tracemalloc.start()
    try:
        held = [read() for _ in range(count)]
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] / count
    finally:
        tracemalloc.stop()

    assert len(held) == count
    assert taken / 1.2 - 1_000 <= counted <= 3 * taken + 2_000
