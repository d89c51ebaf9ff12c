"""DAG-CBOR of the data model, read once more by hand: slowly, and with nothing allowed that the specification does not.

Source: https://atproto.com/specs/data-model and https://atproto.com/guides/data-validation. The JSON form comes out.
"""

from __future__ import annotations

import base64
from typing import Any

SIZE, DEPTH, ENTRIES, KEY = 1_000_000, 32, 131_072, 8_192


class NoRecord(ValueError):  # noqa: N818 - what is asked
    """The bytes are no record of the data model."""


def read(data: bytes) -> Any:
    """The JSON form of one whole value; raises NoRecord."""
    if len(data) > SIZE:
        raise NoRecord("size")
    value, end = _value(data, 0, 0)
    if end != len(data):
        raise NoRecord("more than one value")
    return value


def _value(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    kind, count, at = _head(data, at)
    if kind in {0, 1}:
        if count >= 1 << 63:
            raise NoRecord("integer")
        return (count if kind == 0 else -1 - count), at
    if kind == 2:
        return {"$bytes": base64.b64encode(_take(data, at, count)).decode().rstrip("=")}, at + count
    if kind == 3:
        try:
            return _take(data, at, count).decode(), at + count
        except UnicodeDecodeError as error:
            raise NoRecord("text") from error
    if kind == 7:
        if count not in (20, 21, 22) or data[at - 1] != 0xE0 | count:
            raise NoRecord("neither false, true nor null")
        return {20: False, 21: True, 22: None}[count], at
    if kind == 6:
        link, end = _value(data, at, depth)
        raw = data[end - 37 : end]
        blessed = data[at : at + 3] == b"\x58\x25\x00" and raw[1:5] in (b"\x01\x71\x12\x20", b"\x01\x55\x12\x20")
        if count != 42 or not blessed or "$bytes" not in link:
            raise NoRecord("link")
        return {"$link": "b" + base64.b32encode(raw[1:]).decode().lower().rstrip("=")}, end
    if depth == DEPTH or count > ENTRIES:
        raise NoRecord("depth or length")
    return _array(data, at, count, depth + 1) if kind == 4 else _map(data, at, count, depth + 1)


def _array(data: bytes, at: int, count: int, depth: int) -> tuple[Any, int]:
    items = []
    for _ in range(count):
        item, at = _value(data, at, depth)
        items.append(item)
    return items, at


def _map(data: bytes, at: int, count: int, depth: int) -> tuple[Any, int]:
    fields: dict[str, Any] = {}
    before: tuple[int, bytes] = (-1, b"")
    for _ in range(count):
        if data[at : at + 1] and data[at] >> 5 != 3:
            raise NoRecord("a key that is no text")
        key, end = _value(data, at, depth)
        raw = key.encode()
        if (len(raw), raw) <= before or len(raw) > KEY or key in ("$link", "$bytes"):
            raise NoRecord("key")
        before = (len(raw), raw)
        fields[key], at = _value(data, end, depth)
    return fields, at


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """(major type, its number, where it goes on); the number in its shortest form."""
    first = _take(data, at, 1)[0]
    kind, small = first >> 5, first & 31
    if small < 24:
        return kind, small, at + 1
    if small > 27 or kind == 7:
        raise NoRecord("indefinite length, float, or no CBOR")
    width = 1 << (small - 24)
    count = int.from_bytes(_take(data, at + 1, width), "big")
    if count < (24, 1 << 8, 1 << 16, 1 << 32)[small - 24]:
        raise NoRecord("a longer form than need be")
    return kind, count, at + 1 + width


def _take(data: bytes, at: int, count: int) -> bytes:
    part = data[at : at + count]
    if len(part) != count:
        raise NoRecord("the bytes end early")
    return part
