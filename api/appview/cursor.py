"""Where a page ends, as clients carry it: opaque to them, checked when it comes back.

A cursor is a position in a partition, so that any cursor of the right shape is harmless: it only says where to read on.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, urlsafe_b64encode
from typing import Any

import orjson

from api.errors import invalid_request
from schemas.errors import XrpcError
from views.table import Key

_LONGEST = 8_192  # two AT-URIs of the longest DIDs and keys fit
_INT_MAX = 1 << 63  # moments of the years 0 to 9999 in microseconds lie beyond 2^53, all in what a store takes


def write_cursor(position: Key) -> str:
    return urlsafe_b64encode(orjson.dumps(position)).rstrip(b"=").decode()


def read_cursor(params: dict[str, Any], *shape: type) -> Key | None:
    """The position after which to read on, None for the beginning; raises InvalidRequest."""
    text = params.get("cursor")
    if not text:
        return None
    if len(text) > _LONGEST:
        raise _bad()
    try:
        position = orjson.loads(b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
    except (ValueError, binascii.Error):
        raise _bad() from None
    if type(position) is not list or [type(part) for part in position] != list(shape):
        raise _bad()
    if any(type(part) is int and abs(part) >= _INT_MAX for part in position):
        raise _bad()
    return tuple(position)


def _bad() -> XrpcError:
    return invalid_request("Malformed cursor")
