"""Blocks that stand in repos as records and are none: what no view may be made of and no repo may be refused for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas import cbor
from schemas.limits import CBOR_DEPTH_MAX, RECORD_BLOCK_MAX, RECORD_CBOR_MAX

POST = "app.bsky.feed.post"

_FIELDS = {
    "a float": b"\xfb?\xf8\x00\x00\x00\x00\x00\x00",
    "a float of 16 bits": b"\xf9>\x00",
    "not a number": b"\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    "keys out of order": b"\xa2ab\x01aa\x01",
    "a key twice": b"\xa2aa\x01aa\x02",
    "a longer integer": b"\x18\x01",
    "an integer of 65 bits": b"\x3b" + b"\xff" * 8,
    "bytes that are no UTF-8": b"a\xff",
    "indefinite length": b"\xbf\xff",
    "the JSON form's own key": b"\xa1e$linkax",
    "a link that is no CID": b"\xd8*C\x00\x01\x02",
    "another tag": b"\xc1\x01",
    "a promise of 2**40 entries": b"\x9b\x00\x00\x01\x00\x00\x00\x00\x00",
    "undefined": b"\xf7",
    "one too deep": b"\x81" * CBOR_DEPTH_MAX + b"\x01",
    "900 deep": b"\x81" * 900 + b"\x01",
    "900 deep and never closed": b"\x81" * 900,
}


def spoilt(record: Mapping[str, Any]) -> dict[str, bytes]:
    """The record in every small form that does not hold, by what is wrong: most have one more field `A`."""
    whole = cbor.encode({**record, "A": 1})
    assert whole[1:4] == b"aA\x01", "the shortest key comes first"
    return {
        "nothing": b"",
        "a list": b"\x80",
        "text": b"ax",
        "a map that ends early": whole[:-3],
        "a map with a byte behind it": whole + b"\x00",
        "a byte that begins nothing": b"\xff",
        **{name: whole[:3] + field + whole[4:] for name, field in _FIELDS.items()},
    }


_RECORD = {"$type": POST, "text": "fine but for one thing", "createdAt": "2026-01-01T00:00:00Z"}
_ROOM = RECORD_BLOCK_MAX - len(cbor.encode({**_RECORD, "A": "x" * 70_000})) + 70_000

INVALID_BLOCKS = {
    **spoilt(_RECORD),
    "90,000 deep": b"\xa1ax" + b"\x81" * 90_000 + b"\x01",
    "one byte too large": cbor.encode({**_RECORD, "A": "x" * (_ROOM + 1)}),
    "too large for the decoder": cbor.encode({**_RECORD, "A": "x" * RECORD_CBOR_MAX}),
}
"""By what is wrong. Each has the CID of its own bytes, so that a repo that holds it verifies."""

assert len(INVALID_BLOCKS["one byte too large"]) == RECORD_BLOCK_MAX + 1

SHOWN_BLOCKS = ("one too deep", "one byte too large", "too large for the decoder", "a link that is no CID")
"""Those of which JSON says nothing wrong."""
