"""Blocks that stand in repos as records and are none: what no view may be made of and no repo may be refused for."""

from __future__ import annotations

from schemas import cbor
from schemas.limits import CBOR_DEPTH_MAX, RECORD_BLOCK_MAX, RECORD_CBOR_MAX

POST = "app.bsky.feed.post"


def _post(**fields: object) -> bytes:
    return cbor.encode({"$type": POST, "text": "fine but for one thing", "createdAt": "2026-01-01T00:00:00Z", **fields})


_WITH_ONE = _post(x=1)

SMALL = {
    "nothing": b"",
    "a list": b"\x80",
    "text": b"ax",
    "a map that ends early": _WITH_ONE[:-3],
    "a map with a byte behind it": _WITH_ONE + b"\x00",
    "a byte that begins nothing": b"\xff",
    "a float": _WITH_ONE.replace(b"ax\x01", b"ax\xfb?\xf8\x00\x00\x00\x00\x00\x00"),
    "a float of 16 bits": _WITH_ONE.replace(b"ax\x01", b"ax\xf9>\x00"),
    "not a number": _WITH_ONE.replace(b"ax\x01", b"ax\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00"),
    "keys out of order": b"\xa2ab\x01aa\x01",
    "a key twice": b"\xa2aa\x01aa\x02",
    "a longer integer": _WITH_ONE.replace(b"ax\x01", b"ax\x18\x01"),
    "an integer of 65 bits": _WITH_ONE.replace(b"ax\x01", b"ax\x3b" + b"\xff" * 8),
    "bytes that are no UTF-8": _WITH_ONE.replace(b"ax\x01", b"axa\xff"),
    "indefinite length": b"\xbf\xff",
    "the JSON form's own key": b"\xa1e$linkax",
    "a link that is no CID": _WITH_ONE.replace(b"ax\x01", b"ax\xd8*C\x00\x01\x02"),
    "another tag": _WITH_ONE.replace(b"ax\x01", b"ax\xc1\x01"),
    "a promise of 2**40 entries": b"\x9b\x00\x00\x01\x00\x00\x00\x00\x00",
    "one too deep": _WITH_ONE.replace(b"ax\x01", b"ax" + b"\x81" * CBOR_DEPTH_MAX + b"\x01"),
    "900 deep": _WITH_ONE.replace(b"ax\x01", b"ax" + b"\x81" * 900 + b"\x01"),
    "900 deep and never closed": b"\x81" * 900,
}

INVALID_BLOCKS = {
    **SMALL,
    "90,000 deep": b"\xa1ax" + b"\x81" * 90_000 + b"\x01",
    "one byte too large": _post(x="x" * (RECORD_BLOCK_MAX + 1 - len(_post(x="")) - 4)),
    "too large for the decoder": _post(x="x" * RECORD_CBOR_MAX),
}
"""By what is wrong. Each has the CID of its own bytes, so that a repo that holds it verifies."""

assert len(INVALID_BLOCKS["one byte too large"]) == RECORD_BLOCK_MAX + 1
SHOWN_BLOCKS = ("one too deep", "one byte too large", "too large for the decoder", "a link that is no CID")
"""Those of which JSON says nothing wrong."""
